"""How feature maps lie in memory.

A map of the plan has 16 channels side by side for each pixel, then the pixels of a row, the rows, the images, and
last the blocks of 16 channels: (C / 16, N, H, W, 16). One vector holds the same pixel of 16 channels; neighbouring
pixels are neighbours in memory, also from one row, and one image, to the next. Where a convolution with padding reads
a map, the zeros lie around it, so that no kernel has to know where an image ends.
"""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

BLOCK = 16  # channels side by side
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}  # of a number in a map
HUGE_PAGE = 1 << 21


def blocks_of(channels: int) -> int:
    """How many blocks hold so many channels; lanes without a channel are zero."""
    return -(-channels // BLOCK)


@dataclass
class Map:
    """A feature map: its geometry, and once memory is planned, its place.

    Attributes
    ----------
    border : int
        Rows and columns of zeros on every side.
    rows, columns : int
        Height and width with borders, and what Winograd's last tiles need beyond.
    zero : int
        What stands for the number zero: another value than 0 only in 8-bit maps of signed numbers.
    """

    channels: int
    images: int
    height: int
    width: int
    element: int  # bytes of a number
    border: int = 0
    rows: int = 0
    columns: int = 0
    zero: int = 0
    base: int = field(default=-1, repr=False)  # address of the first byte, borders included
    spacing: int = field(default=0, repr=False)  # from block to block, where this is a part of another map

    def extend(self, border: int, rows: int = 0, columns: int = 0) -> None:
        """Ask for a border, and for at least so many rows and columns below and right of the top left border."""
        self.border = max(self.border, border)
        self.rows, self.columns = max(self.rows, rows), max(self.columns, columns)

    def part(self, first: int, images: int) -> Map:
        """Return some of the images, where they are."""
        return replace(self, images=images, base=self.base + first * self.image, spacing=self.plane)

    @property
    def pixel(self) -> int:
        """Bytes from one pixel to the next; the following ones are likewise distances in bytes."""
        return BLOCK * self.element

    @property
    def row(self) -> int:
        return self.pixel * (self.border + max(self.width + self.border, self.columns))

    @property
    def image(self) -> int:
        return self.row * (self.border + max(self.height + self.border, self.rows))

    @property
    def plane(self) -> int:
        return self.spacing or self.image * self.images

    @property
    def bytes(self) -> int:
        return self.plane * blocks_of(self.channels)

    @property
    def origin(self) -> int:
        """Address of the first pixel of the first image."""
        return self.base + self.border * (self.row + self.pixel)

    @property
    def bare(self) -> bool:
        """Whether pixels follow each other without a gap."""
        return self.row == self.width * self.pixel and self.image == self.height * self.row

    @property
    def geometry(self) -> tuple[int, ...]:
        """What two maps must share so that the borders of one are those of the other; nothing for bare maps."""
        if self.bare:
            return ()
        return (
            self.channels,
            self.images,
            self.height,
            self.width,
            self.element,
            self.border,
            self.row,
            self.image,
            self.zero,
        )


class Memory:
    """Plans the memory of a program: maps that are never needed at the same time share a place.

    A place is handed out in the order of the steps and given back after the last step that reads it. Maps with a border
    only follow maps of the same geometry, because the border is written once and for all.
    """

    def __init__(self) -> None:
        self._places: list[tuple[int, tuple[int, ...]]] = []  # bytes, geometry
        self._free: set[int] = set()
        self.zeros: list[tuple[int, int]] = []

    def take(self, size: int, geometry: tuple[int, ...] = ()) -> int:
        """Return the number of a place of at least so many bytes."""
        fitting = [
            (self._places[i][0], i)
            for i in self._free
            if self._places[i][1] == geometry and (geometry or self._places[i][0] >= size)
        ]
        if fitting:
            number = min(fitting)[1]
            self._free.remove(number)
            return number
        self._places.append((size, geometry))
        return len(self._places) - 1

    def give_back(self, number: int) -> None:
        """The contents are not needed any more."""
        self._free.add(number)

    def allocate(self) -> tuple[NDArray[np.uint8], list[int]]:
        """Return the memory of all places, zeroed, and the offset of each."""
        offsets, end = [], 0
        for size, _ in self._places:
            offsets.append(end)
            end += -(-(size + 64) // 4096) * 4096 + 256  # the same address modulo 4096 in many arrays is slow to reach
        return zeroed(end), offsets


def zeroed(size: int) -> NDArray[np.uint8]:
    """Return zeroed memory on large pages where the system has them: each saves 511 look-ups of small ones."""
    # Private, not shared with child processes as is the default: only private memory is given large pages.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    area = mmap.mmap(-1, max(1, size) + HUGE_PAGE, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            area.madvise(mmap.MADV_HUGEPAGE)
    memory = np.frombuffer(area, np.uint8)
    start = -memory.ctypes.data % HUGE_PAGE
    return memory[start : start + max(1, size)]
