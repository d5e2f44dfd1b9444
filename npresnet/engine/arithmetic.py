"""Three ways to multiply: float32, bfloat16 pairs, 8-bit integer quadruples.

Whatever the number format, one step of a kernel broadcasts four bytes of the input (one float32, two bfloat16, or four
unsigned bytes: one, two or four input channels of one pixel), multiplies them with 64 bytes of weights (the same
channels for 16 outputs), and adds to 16 sums. So the same kernels, tables and layouts serve all three; what differs is
in this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import binding as llvm

from .code import F32, I8, I16, I32, F32x16, Function, I32x16, Value, vector
from .record import Fields
from .target import Target

I8x16, I16x16 = vector(I8), vector(I16)


@dataclass(frozen=True)
class Float32:
    """Sums of products in float32: exact products, rounded once for each addition."""

    target: Target
    sums: Any = F32x16

    def broadcast(self, code: Function, address: Value) -> Value:
        """One input channel of a pixel, in all lanes."""
        return code.splat(code.load(F32, address))

    def weights(self, code: Function, address: Value) -> Value:
        """One input channel's weights for 16 outputs."""
        return code.load(F32x16, address)

    def multiply_add(self, code: Function, a: Value, b: Value, sums: Value) -> Value:
        """``sums + a * b``."""
        return code.fma(a, b, sums)

    def constants(self, code: Function, bias: Value) -> list[Value]:
        """What :meth:`total` needs of the numbers at that address: the bias of 16 channels."""
        return [code.load(F32x16, bias)]

    def total(self, code: Function, sums: Value, constants: list[Value]) -> Value:
        """The sums with the bias."""
        return sums + constants[0]

    def scale(self, code: Function, fields: Fields) -> Value | None:
        """What to multiply a residual with."""
        return None

    def write(self, code: Function, y: Value, address: Value) -> None:
        """Store 16 channels of a pixel."""
        code.store(y, address)

    def read(self, code: Function, address: Value) -> Value:
        """Read 16 channels of a pixel as float32."""
        return code.load(F32x16, address)


@dataclass(frozen=True)
class BFloat16(Float32):
    """Pairs of bfloat16 numbers, summed in float32; maps are rounded to bfloat16, half to even."""

    def broadcast(self, code: Function, address: Value) -> Value:
        """Two input channels of a pixel, in all lanes."""
        return code.splat(code.load(I32, address))

    def weights(self, code: Function, address: Value) -> Value:
        """Two input channels' weights for 16 outputs."""
        return code.load(I32x16, address)

    def multiply_add(self, code: Function, a: Value, b: Value, sums: Value) -> Value:
        """``sums + a[0] * b[0] + a[1] * b[1]``."""
        from llvmlite import ir

        if llvm.llvm_version_info[0] >= 19:  # the operands became vectors of bfloat
            pairs = ir.VectorType(_BFloat(), 32)
            a, b = code.convert(a, pairs, "bitcast"), code.convert(b, pairs, "bitcast")
        return code.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", F32x16, sums, a, b)

    def write(self, code: Function, y: Value, address: Value) -> None:
        """Round 16 channels to bfloat16, half to even, in one instruction."""
        from llvmlite import ir

        halves = code.convert(y, ir.VectorType(_BFloat(), 16), "fptrunc")
        code.store(code.convert(halves, I16x16, "bitcast"), address)

    def read(self, code: Function, address: Value) -> Value:
        """A bfloat16 is the upper half of a float32."""
        return code.convert(code.convert(code.load(I16x16, address), I32x16, "zext") << 16, F32x16, "bitcast")


def rounded_to_bfloat16(code: Function, x: Value) -> Value:
    """The nearest bfloat16 of a float32 or of a vector of them, half to even, as the lower half of an integer.

    Add half of the last kept bit, a little less where it is even, and cut. NaN stays NaN, whatever its bits.
    """
    integers = vector(I32, x.type.count) if hasattr(x.type, "count") else I32
    bits = code.convert(x, integers, "bitcast")
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return code.select(x.is_nan(), code.constant(integers, 0x7FC0), rounded)


@dataclass(frozen=True)
class Int8:
    """Unsigned 8-bit inputs times signed 8-bit weights, summed exactly in 32-bit integers.

    The total is ``sums * scale + bias`` in float32, and what is stored is ``round(total)`` within 0..255. Scales and
    biases lie behind each other: 16 biases, then 16 scales.
    """

    target: Target
    sums: Any = I32x16

    def broadcast(self, code: Function, address: Value) -> Value:
        """Four input channels of a pixel, in all lanes."""
        return code.splat(code.load(I32, address))

    def weights(self, code: Function, address: Value) -> Value:
        """Four input channels' weights for 16 outputs."""
        return code.load(I32x16, address)

    def multiply_add(self, code: Function, a: Value, b: Value, sums: Value) -> Value:
        """``sums`` plus four products. Without such an instruction, in two halves of 16-bit pairs."""
        if self.target.has_dot8:
            return code.intrinsic("llvm.x86.avx512.vpdpbusd.512", I32x16, sums, a, b)
        return _dot8_in_pairs(code, a, b, sums)

    def constants(self, code: Function, bias: Value) -> list[Value]:
        """The bias and the scale of 16 channels."""
        return [code.load(F32x16, bias), code.load(F32x16, bias + 64)]

    def total(self, code: Function, sums: Value, constants: list[Value]) -> Value:
        """Multiply and add separately, rounding twice, on every processor: so the result is the same everywhere."""
        bias, scale = constants
        return code.convert(sums, F32x16, "sitofp") * scale + bias

    def scale(self, code: Function, fields: Fields) -> Value:
        """What brings a residual to the scale of the output."""
        return code.splat(fields.number("residual_scale"))

    def write(self, code: Function, y: Value, address: Value) -> None:
        """Round half to even, and cut off at 255; the values are not negative."""
        most = code.constant(I32x16, 255)
        if self.target.level == "avx512":  # rounds as it converts; what is too large becomes the largest unsigned
            everywhere, as_usual = code.constant(I16, -1), code.constant(I32, 4)
            zero = code.constant(I32x16, 0)
            name = "llvm.x86.avx512.mask.cvtps2dq.512"
            whole = code.intrinsic(name, I32x16, y, zero, everywhere, as_usual)
            whole = code.select(whole.is_below(most), whole, most)
        else:
            y = code.minimum(code.constant(F32x16, 255), y)
            whole = code.convert(code.intrinsic("llvm.rint.v16f32", F32x16, y), I32x16, "fptosi")
        code.store(code.convert(whole, I8x16, "trunc"), address)

    def read(self, code: Function, address: Value) -> Value:
        """16 channels as they are stored, 0..255."""
        return code.convert(code.convert(code.load(I8x16, address), I32x16, "zext"), F32x16, "uitofp")


def _dot8_in_pairs(code: Function, a: Value, b: Value, sums: Value) -> Value:
    """Even and odd bytes apart: each 32-bit lane holds two 16-bit numbers, which ``pmaddwd`` multiplies and adds."""
    half = vector(I16, 32)
    a, b = code.convert(a, half, "bitcast"), code.convert(b, half, "bitcast")
    eight = code.constant(half, 8)
    low_a, high_a = a & 255, a >> 8
    low_b = Value(code, code.builder.ashr((b << 8).raw, eight.raw))
    high_b = Value(code, code.builder.ashr(b.raw, eight.raw))
    for x, w in ((low_a, low_b), (high_a, high_b)):
        sums = sums + _pairwise_products(code, x, w)
    return sums


def _pairwise_products(code: Function, x: Value, w: Value) -> Value:
    """``x[0] * w[0] + x[1] * w[1]`` of signed 16-bit pairs, in the form in which LLVM knows ``pmaddwd``."""
    wide = vector(I32, 32)
    products = code.convert(x, wide, "sext") * code.convert(w, wide, "sext")
    return code.lanes(products, range(0, 32, 2)) + code.lanes(products, range(1, 32, 2))


def _BFloat() -> Any:
    """LLVM's ``bfloat``, which llvmlite has no name for."""
    from llvmlite import ir

    class BFloatType(ir.Type):
        def _to_string(self) -> str:
            return "bfloat"

        def __eq__(self, other: object) -> bool:
            return type(other).__name__ == "BFloatType"

        def __hash__(self) -> int:
            return hash("bfloat")

    return BFloatType()


PRECISIONS = {"float32": Float32, "bfloat16": BFloat16, "int8": Int8}
