"""The safetensors format: the length of a JSON header, the header, one buffer that the arrays tile without a gap.

Read here rather than by the ``safetensors`` package, which copies every array twice for NumPy and knows no bfloat16
there; :mod:`~npresnet.checkpoint.writer` uses the package.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .errors import CheckpointError
from .limits import MAX_DIMENSIONS, MAX_JSON, check_members
from .mapped import take, unpack
from .metadata import KEY, RawCheckpoint, decode, parse_json
from .torch_tensors import bfloat16_to_float32

_DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?", "U8": "u1", "U16": "<u2", "U32": "<u4",
    "U64": "<u8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8",
}  # fmt: skip


def is_safetensors(data: memoryview) -> bool:
    """Whether the file opens like one: a plausible length, then a brace."""
    return len(data) > 8 and data[8] == ord("{") and int.from_bytes(data[:8], "little") <= len(data) - 8


def read_safetensors(data: memoryview) -> RawCheckpoint:
    """Read a whole safetensors file.

    Parameters
    ----------
    data : memoryview
        The whole file.

    Returns
    -------
    RawCheckpoint
        Its arrays are views of the file, save bfloat16, which is widened to float32.

    Raises
    ------
    CheckpointError
        If the header is malformed, or arrays overlap, leave gaps or reach outside the file.
    """
    (length,) = unpack("<Q", data, 0, "the safetensors header")
    if length > MAX_JSON:
        raise CheckpointError(f"the safetensors header claims {length:,} bytes; more than {MAX_JSON:,} are refused")
    header = parse_json(bytes(take(data, 8, length, "the safetensors header")), "the safetensors header")
    metadata = header.pop("__metadata__", {})
    if type(metadata) is not dict or any(type(value) is not str for value in metadata.values()):
        raise CheckpointError("the safetensors metadata must map strings to strings")
    check_members("tensors", len(header))
    buffer = data[8 + length :]
    entries = {name: _entry(name, entry) for name, entry in header.items()}
    position = 0
    for name, (_, _, start, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != position:
            raise CheckpointError(f"tensor {name!r} starts at byte {start:,} of the buffer, expected {position:,}")
        position = stop
    if position != len(buffer):
        raise CheckpointError(
            f"the tensors take {position:,} bytes, the file holds {len(buffer):,}; it is cut short or damaged"
        )
    arrays = {name: _array(buffer, *entry) for name, entry in entries.items()}
    config, preprocessing = decode(metadata[KEY]) if KEY in metadata else (None, None)
    return RawCheckpoint(arrays, config, preprocessing)


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Check ``{"dtype": ..., "shape": [...], "data_offsets": [start, stop]}``."""
    if type(entry) is not dict or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"tensor {name!r} must have a dtype, a shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str or dtype not in _DTYPES:
        raise CheckpointError(f"tensor {name!r} has dtype {str(dtype)[:20]!r}, expected one of {', '.join(_DTYPES)}")
    for numbers in (shape, offsets):
        if type(numbers) is not list or any(type(n) is not int or n < 0 for n in numbers):
            raise CheckpointError(f"tensor {name!r} has a malformed shape or data_offsets")
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
        raise CheckpointError(f"tensor {name!r} has {len(shape)} dimensions and {len(offsets)} data_offsets")
    expected = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != expected:
        raise CheckpointError(f"tensor {name!r} of shape {shape} needs {expected:,} bytes, has {offsets}")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _array(buffer: memoryview, dtype: str, shape: tuple[int, ...], start: int, stop: int) -> np.ndarray:
    stored = np.dtype(_DTYPES[dtype])
    flat = np.frombuffer(buffer[start:stop], stored)
    array = np.require(flat.reshape(shape), stored.newbyteorder("="), ["C", "A"])
    return bfloat16_to_float32(array) if dtype == "BF16" else array
