"""Write machine code from Python.

A :class:`Function` is an LLVM function under construction; a :class:`Value` is something that it computes. Operators on
values append instructions, ``loop`` and ``when`` open blocks, so that a kernel reads like the program it stands for::

    code = Function("double", target, [I64, I64])
    address, count = code.arguments
    with code.loop(count) as i:
        x = code.load(F32, address + i * 4)
        code.store(x + x, address + i * 4)

Addresses are 64-bit integers and count bytes. Nothing is checked here: sizes are checked where a plan is made.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llvmlite import ir

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
FLOATS = (F32, F64)


def vector(element: ir.Type, length: int = 16) -> ir.VectorType:
    """Return the type of a vector: 16 elements, a block of channels, unless told otherwise."""
    return ir.VectorType(element, length)


F32x16, F64x16 = vector(F32), vector(F64)
I32x16 = vector(I32)


class Value:
    """A number or a vector that the function computes."""

    def __init__(self, code: Function, raw: ir.Value) -> None:
        self.code, self.raw = code, raw

    @property
    def type(self) -> ir.Type:
        """The LLVM type."""
        return self.raw.type

    def _apply(self, other: Value | float, integer: str, floating: str) -> Value:
        builder = self.code.builder
        name = floating if _element(self.type) in FLOATS else integer
        return Value(self.code, getattr(builder, name)(self.raw, self.code.constant(self.type, other).raw))

    def __add__(self, other: Value | float) -> Value:
        if isinstance(other, int) and other == 0:
            return self
        return self._apply(other, "add", "fadd")

    def __sub__(self, other: Value | float) -> Value:
        return self._apply(other, "sub", "fsub")

    def __mul__(self, other: Value | float) -> Value:
        return self._apply(other, "mul", "fmul")

    def __rmul__(self, other: float) -> Value:
        return self * other

    def __floordiv__(self, other: Value | int) -> Value:
        return self._apply(other, "udiv", "fdiv")

    def __truediv__(self, other: Value | float) -> Value:
        return self._apply(other, "udiv", "fdiv")

    def __mod__(self, other: Value | int) -> Value:
        return self._apply(other, "urem", "frem")

    def __and__(self, other: Value | int) -> Value:
        return self._apply(other, "and_", "and_")

    def __or__(self, other: Value | int) -> Value:
        return self._apply(other, "or_", "or_")

    def __lshift__(self, other: int) -> Value:
        return self._apply(other, "shl", "shl")

    def __rshift__(self, other: int) -> Value:
        return self._apply(other, "lshr", "lshr")

    def _compare(self, relation: str, other: Value | float) -> Value:
        builder = self.code.builder
        compare = builder.fcmp_ordered if _element(self.type) in FLOATS else builder.icmp_signed
        return Value(self.code, compare(relation, self.raw, self.code.constant(self.type, other).raw))

    def __lt__(self, other: Value | float) -> Value:
        return self._compare("<", other)

    def __gt__(self, other: Value | float) -> Value:
        return self._compare(">", other)

    def __le__(self, other: Value | float) -> Value:
        return self._compare("<=", other)

    def __ge__(self, other: Value | float) -> Value:
        return self._compare(">=", other)

    def is_below(self, other: Value) -> Value:
        """``<`` of unsigned integers."""
        return Value(self.code, self.code.builder.icmp_unsigned("<", self.raw, other.raw))

    def is_nan(self) -> Value:
        """Whether it is not a number."""
        return Value(self.code, self.code.builder.fcmp_unordered("uno", self.raw, self.raw))

    def equals(self, other: Value | float) -> Value:
        """A comparison; ``==`` keeps its meaning in Python."""
        return self._compare("==", other)

    def differs(self, other: Value | float) -> Value:
        """The opposite of :meth:`equals`."""
        return self._compare("!=", other)


class Variable:
    """A place for a value that changes, in a loop for example; the compiler keeps it in a register."""

    def __init__(self, initial: Value) -> None:
        self.code = initial.code
        with self.code.builder.goto_entry_block():
            self._slot = self.code.builder.alloca(initial.type)
        self.set(initial)

    def get(self) -> Value:
        """The present value."""
        return Value(self.code, self.code.builder.load(self._slot))

    def set(self, value: Value) -> None:
        """Replace the value."""
        self.code.builder.store(value.raw, self._slot)


class Function:
    """A function without a result, alone in its LLVM module.

    Parameters
    ----------
    name : str
    arguments : sequence of LLVM types

    Attributes
    ----------
    arguments : list of Value
    """

    def __init__(self, name: str, arguments: Sequence[ir.Type]) -> None:
        self.module = ir.Module(name)
        kind = ir.FunctionType(ir.VoidType(), arguments)
        self.function = ir.Function(self.module, kind, name)
        self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.arguments = [Value(self, argument) for argument in self.function.args]

    def finish(self) -> str:
        """Close the function and return the text of its module."""
        self.builder.ret_void()
        return str(self.module)

    def variable(self, kind: ir.Type) -> Variable:
        """Return a variable that is zero."""
        return Variable(self.constant(kind, 0))

    # ------------------------------------------------------------------------------------------------------- values

    def constant(self, kind: ir.Type, value: Value | float | Sequence[float]) -> Value:
        """Return a constant of a type (for a vector, the same number in every lane); a value stays as it is."""
        if isinstance(value, Value):
            return value
        if _element(kind) in FLOATS and not isinstance(value, Sequence):
            value = float(value)
        if isinstance(kind, ir.VectorType) and not isinstance(value, Sequence):
            value = [value] * kind.count
        return Value(self, ir.Constant(kind, value))

    def load(self, kind: ir.Type, address: Value) -> Value:
        """Read a value; no alignment is assumed."""
        pointer = self.builder.inttoptr(address.raw, kind.as_pointer())
        return Value(self, self.builder.load(pointer, align=_alignment(kind)))

    def store(self, value: Value, address: Value) -> None:
        """Write a value."""
        pointer = self.builder.inttoptr(address.raw, value.type.as_pointer())
        self.builder.store(value.raw, pointer, align=_alignment(value.type))

    def splat(self, scalar: Value, length: int = 16) -> Value:
        """Return a vector with the same number in every lane."""
        kind = vector(scalar.type, length)
        undefined = ir.Constant(kind, ir.Undefined)
        single = self.builder.insert_element(undefined, scalar.raw, ir.Constant(I32, 0))
        zeros = ir.Constant(vector(I32, length), [0] * length)
        return Value(self, self.builder.shuffle_vector(single, undefined, zeros))

    def lanes(self, value: Value, which: Sequence[int]) -> Value:
        """Return a vector of some lanes of another."""
        undefined = ir.Constant(value.type, ir.Undefined)
        mask = ir.Constant(vector(I32, len(which)), list(which))
        return Value(self, self.builder.shuffle_vector(value.raw, undefined, mask))

    def convert(self, value: Value, kind: ir.Type, instruction: str) -> Value:
        """Apply a conversion such as ``zext``, ``sitofp`` or ``bitcast``."""
        return Value(self, getattr(self.builder, instruction)(value.raw, kind))

    def intrinsic(self, name: str, result: ir.Type, *arguments: Value) -> Value:
        """Call an LLVM intrinsic by its full name."""
        function = self.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(result, [argument.type for argument in arguments])
            function = ir.Function(self.module, kind, name)
        return Value(self, self.builder.call(function, [argument.raw for argument in arguments]))

    def prefetch(self, address: Value, write: bool = False) -> None:
        """Fetch a cache line that will soon be read, or written."""
        pointer = self.builder.inttoptr(address.raw, I8.as_pointer())
        name = "llvm.prefetch.p0"
        function = self.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
            function = ir.Function(self.module, kind, name)
        self.builder.call(function, [pointer, ir.Constant(I32, int(write)), ir.Constant(I32, 3), ir.Constant(I32, 1)])

    def intrinsic_call(self, name: str) -> None:
        """Call an LLVM intrinsic that takes and returns nothing."""
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), []), name)
        self.builder.call(function, [])

    def fma(self, a: Value, b: Value | float, c: Value) -> Value:
        """``a * b + c`` in one instruction, or in two where the processor has no such instruction."""
        return self.intrinsic(f"llvm.fmuladd.{_suffix(a.type)}", a.type, a, self.constant(a.type, b), c)

    def sqrt(self, x: Value) -> Value:
        """The square root, correctly rounded."""
        return self.intrinsic(f"llvm.sqrt.{_suffix(x.type)}", x.type, x)

    def lane(self, vector: Value, index: Value | int) -> Value:
        """Return one number of a vector."""
        index = self.constant(I32, index) if isinstance(index, int) else index
        return Value(self, self.builder.extract_element(vector.raw, index.raw))

    def gather(self, addresses: Sequence[Value]) -> Value:
        """Return a vector of single float32 numbers."""
        raw = ir.Constant(vector(F32, len(addresses)), ir.Undefined)
        for lane, address in enumerate(addresses):
            raw = self.builder.insert_element(raw, self.load(F32, address).raw, ir.Constant(I32, lane))
        return Value(self, raw)

    def maximum(self, bound: Value, x: Value) -> Value:
        """The larger one; where x is NaN, NaN."""
        return self.select(bound > x, bound, x)

    def largest(self, *numbers: Value) -> Value:
        """The largest of several numbers; where any of them is NaN, NaN."""
        result = numbers[0]
        for number in numbers[1:]:
            result = self.select(number > result, number, result)  # one instruction, which may lose a NaN
        pairs = zip(numbers[::2], [*numbers[1::2], numbers[-1]], strict=False)  # one comparison for two numbers
        strange = [Value(self, self.builder.fcmp_unordered("uno", a.raw, b.raw)) for a, b in pairs]
        return self.select(functools.reduce(operator.or_, strange), self.constant(result.type, math.nan), result)

    def minimum(self, bound: Value, x: Value) -> Value:
        """The smaller one; where x is NaN, NaN."""
        return self.select(bound < x, bound, x)

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        """Choose one of two values, lane by lane for vectors."""
        return Value(self, self.builder.select(condition.raw, yes.raw, no.raw))

    def least(self, a: Value, b: Value | int) -> Value:
        """The smaller of two integers."""
        b = self.constant(a.type, b)
        return self.select(a < b, a, b)

    def most(self, a: Value, b: Value | int) -> Value:
        """The larger of two integers."""
        b = self.constant(a.type, b)
        return self.select(a > b, a, b)

    def call(self, address: Value, *arguments: Value) -> None:
        """Call a function without a result by its address."""
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        pointer = self.builder.inttoptr(address.raw, kind.as_pointer())
        self.builder.call(pointer, [argument.raw for argument in arguments])

    # ------------------------------------------------------------------------------------------------------ control

    @contextmanager
    def loop(self, stop: Value, start: Value | int = 0, step: Value | int = 1) -> Iterator[Value]:
        """Repeat a block for every index from start to stop; the index is unsigned."""
        index = Variable(self.constant(I64, start))
        head, body, end = (self.function.append_basic_block(name) for name in ("head", "body", "end"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        i = index.get()
        self.builder.cbranch((i < stop).raw, body, end)
        self.builder.position_at_end(body)
        yield i
        index.set(i + step)
        self.builder.branch(head)
        self.builder.position_at_end(end)

    @contextmanager
    def forever(self) -> Iterator[Callable[[Value], None]]:
        """Repeat a block until the function that it is given is called with a true condition."""
        body, end = self.function.append_basic_block("body"), self.function.append_basic_block("end")
        self.builder.branch(body)
        self.builder.position_at_end(body)

        def leave_if(condition: Value) -> None:
            rest = self.function.append_basic_block("rest")
            self.builder.cbranch(condition.raw, end, rest)
            self.builder.position_at_end(rest)

        yield leave_if
        self.builder.branch(body)
        self.builder.position_at_end(end)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run a block only where the condition holds."""
        with self.builder.if_then(condition.raw):
            yield

    def either(self, condition: Value, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """Write two branches."""
        with self.builder.if_else(condition.raw) as (then, otherwise):
            with then:
                yes()
            with otherwise:
                no()

    def return_if(self, condition: Value) -> None:
        """Leave the function where the condition holds."""
        with self.builder.if_then(condition.raw):
            self.builder.ret_void()

    # -------------------------------------------------------------------------------------------------- many threads

    def atomic_add(self, address: Value, amount: int) -> Value:
        """Add to a 64-bit integer that other threads use too, and return what it was."""
        pointer = self.builder.inttoptr(address.raw, I64.as_pointer())
        return Value(self, self.builder.atomic_rmw("add", pointer, ir.Constant(I64, amount), "seq_cst"))

    def atomic_load(self, address: Value) -> Value:
        """Read a 64-bit integer that another thread may just have changed."""
        pointer = self.builder.inttoptr(address.raw, I64.as_pointer())
        return Value(self, self.builder.load_atomic(pointer, "seq_cst", 8))


def _element(kind: ir.Type) -> ir.Type:
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _suffix(kind: ir.Type) -> str:
    """How LLVM names a type of floats in an intrinsic."""
    name = "f64" if _element(kind) == F64 else "f32"
    return f"v{kind.count}{name}" if isinstance(kind, ir.VectorType) else name


def _alignment(kind: ir.Type) -> int:
    """Vectors may start at any element."""
    element = _element(kind)
    return {F32: 4, F64: 8}.get(element) or max(1, element.width // 8)
