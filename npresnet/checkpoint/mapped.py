"""A file as read-only memory: nothing is copied until an array is, and nothing can be written back."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from .errors import CheckpointError


def map_file(path: Path) -> memoryview:
    """Map a whole file; the mapping lives as long as an array that looks into it."""
    with open(path, "rb") as file:
        if file.seek(0, 2) == 0:
            raise CheckpointError("the file is empty; was the download or the copy complete?")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def take(data: memoryview, position: int, size: int, what: str) -> memoryview:
    """Return ``size`` bytes at ``position``, or raise because the file ends before them."""
    if size < 0 or position < 0 or position + size > len(data):
        raise CheckpointError(
            f"{what} needs {size:,} bytes at offset {position:,} of {len(data):,}; the file is cut short or forged"
        )
    return data[position : position + size]


def unpack(layout: str, data: memoryview, position: int, what: str) -> tuple[int, ...]:
    """``struct.unpack`` with a bounds check."""
    return struct.unpack(layout, take(data, position, struct.calcsize(layout), what))
