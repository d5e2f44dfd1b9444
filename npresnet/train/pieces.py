"""Work on all numbers of many arrays at once, on all threads, piece by piece.

A formula with five operations goes five times through its arrays. In pieces that stay in a core's cache it comes from
memory only once, and needs no temporary array larger than a piece. Pieces do not depend on the number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.parallel import for_each

Array = NDArray[np.floating]
Rows = slice | EllipsisType
"""Some rows of an array, along its first axis; all of an array without axes."""

PIECE = 1 << 16  # numbers: four float32 arrays of so many take a megabyte

_local = threading.local()


def cut(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, Rows]]:
    """Return ``(number of the array, rows)`` of every piece of the arrays with these shapes, in order.

    Rows are never cut, so that the memory layout does not matter; one of more than :data:`PIECE` numbers is a piece.
    """
    pieces: list[tuple[int, Rows]] = []
    for number, shape in enumerate(shapes):
        if not shape:
            pieces.append((number, ...))
            continue
        row = 1
        for size in shape[1:]:
            row *= size
        step = max(1, PIECE // max(row, 1))
        pieces += [(number, slice(start, start + step)) for start in range(0, shape[0], step)]
    return pieces


def for_each_piece(pieces: Sequence[tuple[int, Rows]], function: Callable[[int, Rows], Any]) -> list[Any]:
    """Return ``[function(number, rows), ...]`` for all pieces, computed on all threads."""
    results: list[Any] = [None] * len(pieces)

    def one(index: int) -> None:
        results[index] = function(*pieces[index])

    for_each(one, len(pieces))
    return results


def scratch(like: Array, place: int = 0, dtype: Any = None) -> Array:
    """Return an array of the shape (and unless given, dtype) of a piece, for numbers that are soon forgotten.

    Each thread has its own, one for each ``place`` and dtype: whoever asks next in this thread overwrites it.
    """
    key = (place, np.dtype(dtype or like.dtype))
    kept: dict[Any, Array] = _local.__dict__.setdefault("scratch", {})
    if key not in kept or kept[key].size < like.size:
        kept[key] = np.empty(max(like.size, PIECE), key[1])
    return kept[key][: like.size].reshape(like.shape)


def sum_of_squares(piece: Array) -> float:
    """Return the sum of the squares of a piece, accumulated in float64."""
    return float(np.sum(np.square(piece, out=scratch(piece, -1, np.float64), dtype=np.float64)))
