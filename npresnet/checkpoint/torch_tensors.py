"""Tensors as PyTorch stores them: a window (offset, shape, strides) on a flat storage that is shared or not.

A pickle only *describes* tensors; these descriptions are checked here and become arrays on request. Nothing is
allocated on the word of the file: a window outside its storage is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .errors import CheckpointError
from .limits import MAX_DIMENSIONS, check_expansion, check_members

ByteOrder = Literal["<", ">"]

DTYPES = {
    "float16": "f2", "float32": "f4", "float64": "f8", "bfloat16": "u2", "bool": "?",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
}  # fmt: skip
"""NumPy codes of PyTorch's dtypes; NumPy has no bfloat16, so its bits are read as uint16."""

STORAGE_DTYPES = {
    "HalfStorage": "float16", "FloatStorage": "float32", "DoubleStorage": "float64", "BFloat16Storage": "bfloat16",
    "BoolStorage": "bool", "ByteStorage": "uint8", "CharStorage": "int8", "ShortStorage": "int16",
    "IntStorage": "int32", "LongStorage": "int64", "UntypedStorage": "uint8",
}  # fmt: skip
"""Dtypes of PyTorch's storage classes."""


@dataclass(frozen=True)
class Storage:
    """A flat run of ``numel`` elements, found in the file under ``key``.

    ``window = (offset, numel)`` narrows it, as files from before PyTorch 1.6 do.
    """

    key: str
    dtype: str
    numel: int
    window: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if type(self.key) is not str or self.dtype not in DTYPES or not _is_size(self.numel):
            raise CheckpointError(f"a storage is malformed: key {_brief(self.key)}, size {_brief(self.numel)}")
        if self.window is not None:
            if type(self.window) is not tuple or len(self.window) != 2 or not all(map(_is_size, self.window)):
                raise CheckpointError(f"storage {self.key} has a malformed view {_brief(self.window)}")
            if sum(self.window) > self.numel:
                raise CheckpointError(f"storage {self.key} of {self.numel} elements has a view {self.window} beyond")

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(DTYPES[self.dtype]).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of the whole storage, whatever the window."""
        return self.numel * self.itemsize


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, or of its window; ``offset`` and ``stride`` count elements of ``dtype``."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        sizes = (self.shape, self.stride)
        if type(self.storage) is not Storage or any(type(s) is not tuple or not all(map(_is_size, s)) for s in sizes):
            raise CheckpointError(f"a tensor is malformed: size {_brief(self.shape)}, stride {_brief(self.stride)}")
        if len(self.shape) != len(self.stride) or len(self.shape) > MAX_DIMENSIONS or not _is_size(self.offset):
            raise CheckpointError(
                f"a tensor is malformed: {len(self.shape)} sizes, {len(self.stride)} strides, "
                f"offset {_brief(self.offset)}; at most {MAX_DIMENSIONS} dimensions are read"
            )
        _, available = self.storage.window or (0, self.storage.numel)
        available = available * self.storage.itemsize // self.itemsize
        if self.numel and self.offset + self._last >= available:
            raise CheckpointError(
                f"a tensor of shape {self.shape}, stride {self.stride} and offset {self.offset} reaches outside its "
                f"storage {self.storage.key} of {available} elements; the file is damaged or forged"
            )

    @property
    def _last(self) -> int:
        return sum(step * (size - 1) for size, step in zip(self.shape, self.stride, strict=True))

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(DTYPES[self.dtype]).itemsize

    @property
    def numel(self) -> int:
        """Number of elements, which stride 0 may make larger than the storage."""
        return math.prod(self.shape)

    def to_array(self, content: memoryview, byteorder: ByteOrder) -> np.ndarray:
        """Return a C-contiguous array, a view of ``content`` where the layout allows.

        Parameters
        ----------
        content : memoryview
            Bytes of the whole storage.
        byteorder : {"<", ">"}
            In which the file was written.
        """
        if self.numel == 0:
            return np.zeros(self.shape, np.float32 if self.dtype == "bfloat16" else DTYPES[self.dtype])
        stored = np.dtype(DTYPES[self.dtype]).newbyteorder(byteorder)
        start, _ = self.storage.window or (0, 0)
        flat = np.frombuffer(content, stored, count=self._last + 1, offset=(start + self.offset) * self.itemsize)
        strides = [step * self.itemsize for step in self.stride]
        view = np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)
        native = np.require(view, stored.newbyteorder("="), ["C", "A"])
        return bfloat16_to_float32(native) if self.dtype == "bfloat16" else native


def materialise(
    tensors: Mapping[str, Tensor],
    content_of: Callable[[Storage], memoryview],
    file_size: int,
    byteorder: ByteOrder = "<",
) -> dict[str, np.ndarray]:
    """Turn descriptions into arrays.

    Parameters
    ----------
    tensors : mapping of str to Tensor
    content_of : callable
        Gives the bytes of a storage; their number is checked against the description.
    file_size : int
        Of the checkpoint, to recognise a bomb.
    byteorder : {"<", ">"}
        In which the file was written.

    Returns
    -------
    dict of str to ndarray
        C-contiguous, native byte order, possibly read-only; bfloat16 widened to float32.
    """
    check_members("tensors", len(tensors))
    check_expansion("the tensors", sum(t.numel * t.itemsize for t in tensors.values()), file_size)
    arrays = {}
    for name, tensor in tensors.items():
        content = content_of(tensor.storage)
        if len(content) != tensor.storage.nbytes:
            raise CheckpointError(
                f"storage {tensor.storage.key} of {name!r} holds {len(content):,} bytes, expected "
                f"{tensor.storage.nbytes:,}; the file is damaged or forged"
            )
        arrays[name] = tensor.to_array(content, byteorder)
    return arrays


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """Widen bfloat16, given as uint16: it is the upper half of a float32."""
    wide = bits.astype(np.uint32)
    wide <<= 16  # in place, since `<<` makes a scalar of an array without dimensions
    return wide.view(np.float32)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _brief(value: Any) -> str:
    """Describe a value of the file without trusting its size or depth."""
    if type(value) is tuple and len(value) <= MAX_DIMENSIONS:
        return f"({', '.join(_brief(v) if type(v) is not tuple else '(...)' for v in value)})"
    return str(value)[:40] if type(value) in (int, str, bool, type(None)) else f"of type {type(value).__name__}"
