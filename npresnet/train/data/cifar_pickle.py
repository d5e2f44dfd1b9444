"""The pickles that CIFAR's Python archives consist of, read without running what they say.

A pickle is a program. Before it runs, its instructions are looked through: only those that data need may occur, and
none may take more memory than the file. The functions that it names stand for one of five harmless records here, and
every other name is refused; what these files need of NumPy is rebuilt from its parts at the end, after it was checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import DatasetError

_RECONSTRUCT, _FROM_BUFFER, _NDARRAY, _DTYPE, _ENCODE = "_reconstruct", "_frombuffer", "ndarray", "dtype", "encode"
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,  # protocol 5
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _ENCODE,  # how Python 3 writes bytes in the old protocols
}
_NEEDED = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 BINFLOAT STRING BINSTRING "
    "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_DICT DICT "
    "EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS PUT BINPUT LONG_BINPUT "
    "MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD"
)
_INSTRUCTIONS = frozenset(_NEEDED.split())
_MEMO = frozenset(["PUT", "BINPUT", "LONG_BINPUT"])  # they make room for as many entries as they say


def read_pickle(content: bytes, what: str) -> dict[str, Any]:
    """Return the dictionary in a pickle of Python 2 or 3.

    Parameters
    ----------
    content : bytes
    what : str
        Subject of the error messages, such as ``"data_batch_1"``.

    Returns
    -------
    dict
        The keys as str; values are numbers, bytes, str, lists, dicts and uint8 arrays.

    Raises
    ------
    DatasetError
        If the pickle is damaged, names anything else, or is no dictionary.
    """
    try:
        _look_through(content)
        tree = _Unpickler(content).load()
    except DatasetError as error:
        raise DatasetError(f"{what}: {error}") from None
    except Exception as error:  # a damaged or forged pickle makes the machine raise anything
        raise DatasetError(f"{what} is damaged ({type(error).__name__}: {str(error)[:100]})") from error
    if type(tree) is not dict:
        raise DatasetError(f"{what} holds a {type(tree).__name__}, expected a dictionary")
    return {_text(key): value.array(what) if type(value) is _Array else value for key, value in tree.items()}


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _look_through(content: bytes) -> None:
    for number, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in _INSTRUCTIONS:
            raise DatasetError(f"the pickle uses {instruction.name}, which CIFAR does not need; it is refused")
        if instruction.name in _MEMO and (type(argument) is not int or argument > number + 16):
            raise DatasetError(f"the pickle numbers its {number}th part {argument}; it is refused as a bomb")


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._bytes_left = len(content)  # that calls may make: a small call could copy a large value again and again

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DatasetError(f"the pickle names {module[:60]}.{name[:60]}, which CIFAR does not need; it is refused")
        return _Global(_ALLOWED[module, name], self._spend)

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise DatasetError("the pickle copies its content again and again; it is refused as a bomb")


class _Global:
    """A name that the pickle may speak of. It has no state that a file could set."""

    __slots__ = ("_spend", "name")

    def __init__(self, name: str, spend: Callable[[int], None]) -> None:
        self.name = name
        self._spend = spend

    def __setstate__(self, state: Any) -> None:
        raise DatasetError("the pickle sets the state of a function; the file is forged")

    def __call__(self, *arguments: Any) -> Any:
        if self.name == _RECONSTRUCT:
            return _Array()
        if self.name == _FROM_BUFFER and len(arguments) == 4 and type(arguments[0]) in (bytes, bytearray):
            raw, dtype, shape, order = arguments
            self._spend(len(raw))
            array = _Array()
            array.__setstate__((1, shape, dtype, order == "F", bytes(raw)))
            return array
        if self.name == _DTYPE and arguments and type(arguments[0]) in (bytes, str):
            return _DType(_text(arguments[0][:8]))
        if self.name == _ENCODE and arguments and type(arguments[0]) is str:
            self._spend(len(arguments[0]))
            return arguments[0].encode("latin-1")
        raise DatasetError(f"the pickle calls {self.name} in a way that CIFAR does not; it is refused")


class _DType:
    """The type of an array, by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and fields do not matter to bytes."""


class _Array:
    """The parts of an array."""

    __slots__ = ("_state",)

    def __setstate__(self, state: Any) -> None:
        self._state = state

    def array(self, what: str) -> np.ndarray:
        """Return a uint8 array, or refuse."""
        state = getattr(self, "_state", None)
        if type(state) is not tuple or len(state) != 5:
            raise DatasetError(f"{what} holds an array that is not complete")
        _, shape, dtype, fortran, raw = state
        if type(dtype) is not _DType or dtype.name not in ("u1", "|u1"):
            raise DatasetError(f"{what} holds an array of {getattr(dtype, 'name', '?')!r}, expected bytes (u1)")
        if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape) or type(raw) is not bytes:
            raise DatasetError(f"{what} holds an array without a shape or content")
        if math.prod(shape) != len(raw):
            raise DatasetError(f"{what} holds an array of shape {shape} with {len(raw)} bytes")
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")
