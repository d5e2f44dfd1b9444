"""A file as read-only memory: nothing is copied until an array is, and nothing can be written back."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError


def map_file(path: Path) -> memoryview:
    """Map a whole file; the mapping lives as long as an array that looks into it."""
    with open(path, "rb") as file:
        if file.seek(0, 2) == 0:
            raise CheckpointError("the file is empty; was the download or the copy complete?")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def mapping_of(view: np.ndarray | memoryview) -> mmap.mmap | None:
    """Return the mapped file that a view looks into; None for memory of its own, or a mapping that can be written."""
    owner: Any = view
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    if owner is None:
        return None
    with memoryview(owner) as whole:
        return owner if whole.readonly else None


def release(view: np.ndarray | memoryview) -> None:
    """Tell the system that this part of a mapped file is not needed in memory for now.

    Nothing is lost: the pages come back from the file, or from the system's cache of it, when they are read again. A
    view of anything else is left alone, as is everything on a system without ``madvise``.

    Parameters
    ----------
    view : array or memoryview
        In one piece, without gaps.
    """
    mapping = mapping_of(view) if hasattr(mmap, "MADV_DONTNEED") else None
    array = np.asarray(view)
    if mapping is None or not array.size:
        return
    start = array.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
    first_page = start // mmap.PAGESIZE * mmap.PAGESIZE  # whole pages, also those that neighbours share
    mapping.madvise(mmap.MADV_DONTNEED, first_page, start + array.nbytes - first_page)


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
