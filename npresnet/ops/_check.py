"""Checks at the door of every operation: what was wrong, what was expected, what was found, what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]
Pair = tuple[int, int]


def image_batch(x: ArrayLike, name: str = "x") -> Array:
    """Return ``x`` as a C-contiguous float32 or float64 array (N, C, H, W), or raise."""
    return float_array(x, 4, "(N, C, H, W)", name)


def float_array(x: ArrayLike, ndim: int, layout: str, name: str = "x") -> Array:
    """Return ``x`` as a C-contiguous float32 or float64 array of ``ndim`` dimensions, or raise."""
    array = np.asarray(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64, found {array.dtype}; convert it with .astype(np.float32)")
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions {layout}, found shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}, expected at least one element {layout}")
    return np.ascontiguousarray(array)


def same_dtype(first: Array, **others: Array | None) -> None:
    """Raise unless every given array has the dtype of ``first``: mixing precisions is never meant."""
    for name, array in others.items():
        if array is not None and array.dtype != first.dtype:
            raise TypeError(
                f"{name} is {array.dtype} but the input is {first.dtype}; convert one of them "
                "(model.astype(...) or x.astype(...))"
            )


def shape(array: Array, expected: Sequence[int], name: str) -> None:
    """Raise unless ``array`` has exactly the expected shape."""
    if array.shape != tuple(expected):
        raise ValueError(f"{name} must have shape {tuple(expected)}, found {array.shape}")


def pair(value: int | Sequence[int], name: str, least: int) -> Pair:
    """Return ``(rows, columns)`` from one integer or a pair, each at least ``least``."""
    values = (value, value) if isinstance(value, (int, np.integer)) else tuple(value) if np.iterable(value) else ()
    if len(values) != 2 or any(
        isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < least for v in values
    ):
        raise ValueError(f"{name} must be an integer >= {least} or a pair of them, found {value!r}")
    return int(values[0]), int(values[1])
