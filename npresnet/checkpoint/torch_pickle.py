"""An interpreter for the small part of the pickle language that PyTorch checkpoints use.

Python's :mod:`pickle` calls whatever a file names. This machine cannot: its values are numbers, strings, containers and
the inert records of :mod:`~npresnet.checkpoint.torch_globals`; the single instruction that applies one value to another
goes through :func:`~npresnet.checkpoint.torch_globals.call`; items are set on its own dictionaries and lists only, and
no attribute is ever set. An instruction that is not in :data:`_INSTRUCTIONS` is refused.
"""

from __future__ import annotations

import pickle  # for the names of the instructions, nothing else
import pickletools
import re
import struct
from collections.abc import Callable
from typing import Any

from .errors import CheckpointError
from .mapped import take
from .torch_globals import Inert, call, resolve
from .torch_tensors import Tensor

_MAX_LINE = 512
_MAX_INSTRUCTIONS = 5_000_000  # ResNet-152 with its optimizer needs about 150,000

PersistentLoad = Callable[[Any], Any]


def load_pickle(data: memoryview, position: int = 0, persistent_load: PersistentLoad | None = None) -> tuple[Any, int]:
    """Interpret one pickle.

    Parameters
    ----------
    data : memoryview
        Bytes that hold the pickle.
    position : int
        Where it starts.
    persistent_load : callable, optional
        Turns a persistent id (how PyTorch speaks of storages) into a value.

    Returns
    -------
    value : object
        None, bool, int, float, str, bytes, tuple, list, dict, Tensor, Storage or a record of ``torch_globals``.
    end : int
        Position after the pickle.

    Raises
    ------
    CheckpointError
        If the pickle is cut short, malformed, or uses an instruction or a name that a state dict does not need.
    """
    machine = _Machine(data, position, persistent_load)
    return machine.run(), machine.position


class _Machine:
    def __init__(self, data: memoryview, position: int, persistent_load: PersistentLoad | None) -> None:
        self.data, self.position, self.persistent_load = data, position, persistent_load
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        start = self.position
        protocol = self.read(2)
        if protocol[0] != pickle.PROTO[0] or not 2 <= protocol[1] <= 5:
            raise CheckpointError(f"no pickle of protocol 2 to 5 starts at byte {start}")
        for _ in range(_MAX_INSTRUCTIONS):
            code = self.read(1)[0]
            if code == pickle.STOP[0]:
                value = self.pop()
                if self.stack or self.outer:
                    raise CheckpointError("the pickle leaves values behind; the file is damaged")
                return value
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise CheckpointError(
                    f"pickle instruction {_name(code)} at byte {self.position - 1} is refused: PyTorch does not use it"
                )
            instruction(self)
        raise CheckpointError(f"the pickle has more than {_MAX_INSTRUCTIONS:,} instructions; it is refused as a bomb")

    # Reading the operands

    def read(self, size: int) -> bytes:
        content = take(self.data, self.position, size, "the pickle")
        self.position += size
        return bytes(content)

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def line(self) -> str:
        window = bytes(self.data[self.position : self.position + _MAX_LINE])
        length = window.find(b"\n")
        if length < 0:
            raise CheckpointError(f"the pickle has no end of line within {_MAX_LINE} bytes of byte {self.position}")
        self.position += length + 1
        return window[:length].decode("utf-8")

    # The stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise CheckpointError(f"the pickle's stack is empty at byte {self.position - 1}; the file is damaged")
        return self.stack.pop()

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        if not self.outer:
            raise CheckpointError(f"the pickle has no mark at byte {self.position - 1}; the file is damaged")
        values, self.stack = self.stack, self.outer.pop()
        return values

    def push_tuple(self, size: int) -> None:
        values = [self.pop() for _ in range(size)]
        self.push(tuple(reversed(values)))

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError(f"the pickle recalls the unknown memo {index}; the file is damaged")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        self.memo[index] = self.pop()
        self.push(self.memo[index])

    # Instructions with consequences

    def integer_line(self) -> None:
        """Python 2 wrote integers beyond 32 bits as text."""
        text = self.line()
        if text in ("00", "01"):
            return self.push(text == "01")
        if not re.fullmatch(r"-?[0-9]{1,20}", text):
            raise CheckpointError(f"{text[:40]!r} in the pickle is not an integer")
        return self.push(int(text))

    def global_name(self) -> None:
        module = self.line()
        self.push(resolve(module, self.line()))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise CheckpointError("the pickle names a global by something that is not a string; the file is forged")
        self.push(resolve(module, name))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(call(function, arguments))

    def build(self) -> None:
        """Discard a state: of an OrderedDict it is ``_metadata``, of a Parameter its flags."""
        self.pop()
        if not self.stack or type(self.stack[-1]) not in (dict, Tensor, Inert):
            raise CheckpointError("the pickle sets the state of an object that has none; the file is forged")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not dict or len(items) % 2:
            raise CheckpointError(f"the pickle sets items of a {type(target).__name__}, not a dict; the file is forged")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not _is_key(key):
                raise CheckpointError(
                    f"a dictionary key of type {type(key).__name__} is refused, or too large an integer"
                )
            target[key] = value

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if type(target) is not list:
            raise CheckpointError(f"the pickle appends to a {type(target).__name__}, not a list; the file is forged")
        target.extend(items)

    def persistent_id(self) -> None:
        if self.persistent_load is None:
            raise CheckpointError("the pickle refers to a storage where none can be")
        self.push(self.persistent_load(self.pop()))


_INSTRUCTIONS: dict[int, Callable[[_Machine], None]] = {
    pickle.FRAME[0]: lambda m: m.number("<Q"),
    pickle.NONE[0]: lambda m: m.push(None),
    pickle.NEWTRUE[0]: lambda m: m.push(True),
    pickle.NEWFALSE[0]: lambda m: m.push(False),
    pickle.INT[0]: _Machine.integer_line,
    pickle.BININT[0]: lambda m: m.push(m.number("<i")),
    pickle.BININT1[0]: lambda m: m.push(m.number("<B")),
    pickle.BININT2[0]: lambda m: m.push(m.number("<H")),
    pickle.LONG1[0]: lambda m: m.push(int.from_bytes(m.read(m.number("<B")), "little", signed=True)),
    pickle.BINFLOAT[0]: lambda m: m.push(m.number(">d")),
    pickle.BINSTRING[0]: lambda m: m.push(m.read(m.number("<i")).decode("latin-1")),  # str of Python 2
    pickle.SHORT_BINSTRING[0]: lambda m: m.push(m.read(m.number("<B")).decode("latin-1")),
    pickle.BINUNICODE[0]: lambda m: m.push(m.read(m.number("<I")).decode("utf-8")),
    pickle.SHORT_BINUNICODE[0]: lambda m: m.push(m.read(m.number("<B")).decode("utf-8")),
    pickle.BINUNICODE8[0]: lambda m: m.push(m.read(m.number("<Q")).decode("utf-8")),
    pickle.BINBYTES[0]: lambda m: m.push(m.read(m.number("<I"))),
    pickle.SHORT_BINBYTES[0]: lambda m: m.push(m.read(m.number("<B"))),
    pickle.BINBYTES8[0]: lambda m: m.push(m.read(m.number("<Q"))),
    pickle.EMPTY_DICT[0]: lambda m: m.push({}),
    pickle.EMPTY_LIST[0]: lambda m: m.push([]),
    pickle.EMPTY_TUPLE[0]: lambda m: m.push(()),
    pickle.TUPLE1[0]: lambda m: m.push_tuple(1),
    pickle.TUPLE2[0]: lambda m: m.push_tuple(2),
    pickle.TUPLE3[0]: lambda m: m.push_tuple(3),
    pickle.TUPLE[0]: lambda m: m.push(tuple(m.pop_mark())),
    pickle.MARK[0]: _Machine.mark,
    pickle.BINGET[0]: lambda m: m.get(m.number("<B")),
    pickle.LONG_BINGET[0]: lambda m: m.get(m.number("<I")),
    pickle.BINPUT[0]: lambda m: m.put(m.number("<B")),
    pickle.LONG_BINPUT[0]: lambda m: m.put(m.number("<I")),
    pickle.MEMOIZE[0]: lambda m: m.put(len(m.memo)),
    pickle.GLOBAL[0]: _Machine.global_name,
    pickle.STACK_GLOBAL[0]: _Machine.stack_global,
    pickle.REDUCE[0]: _Machine.reduce,
    pickle.NEWOBJ[0]: _Machine.reduce,
    pickle.BUILD[0]: _Machine.build,
    pickle.SETITEM[0]: _Machine.set_item,
    pickle.SETITEMS[0]: lambda m: m.set_items(m.pop_mark()),
    pickle.APPEND[0]: lambda m: m.append([m.pop()]),
    pickle.APPENDS[0]: lambda m: m.append(m.pop_mark()),
    pickle.BINPERSID[0]: _Machine.persistent_id,
}


def _is_key(value: Any) -> bool:
    """Whether a value is safe to hash: a deep tuple overflows the C stack, huge integers can be made to collide."""
    return type(value) in (str, bool, type(None)) or (type(value) is int and abs(value) < 2**63)


def _name(code: int) -> str:
    return next((known.name for known in pickletools.opcodes if ord(known.code) == code), f"0x{code:02x}")
