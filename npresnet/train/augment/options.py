"""Checks of an augmentation's options: what is wrong is said when it is made, not in the middle of an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
"""Filters by name, numbered as in ``PIL.Image.Resampling``."""

WARPING = ("nearest", "bilinear", "bicubic")
"""The filters that can turn and shear as well."""


def check_size(name: str, value: Any) -> tuple[int, int]:
    """Return (height, width); one number stands for both."""
    pair = (value, value) if _is_integer(value) else value
    if not isinstance(pair, Sequence) or len(pair) != 2 or not all(_is_integer(v) and v > 0 for v in pair):
        raise ValueError(f"{name} must be a positive integer or (height, width), found {value!r}")
    return int(pair[0]), int(pair[1])


def check_probability(name: str, value: Any) -> float:
    """Return a number in [0, 1]."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, found {value!r}")
    return float(value)


def check_range(name: str, value: Any, low: float, high: float = math.inf) -> tuple[float, float]:
    """Return (a, b) with low <= a <= b <= high."""
    if (
        not isinstance(value, Sequence)
        or len(value) != 2
        or not all(_is_number(v) for v in value)
        or not low <= value[0] <= value[1] <= high
    ):
        limits = f"{low:g} <= a <= b" + ("" if high == math.inf else f" <= {high:g}")
        raise ValueError(f"{name} must be two numbers (a, b) with {limits}, found {value!r}")
    return float(value[0]), float(value[1])


def check_fill(name: str, value: Any) -> tuple[int, ...]:
    """Return the colour of pixels that have none: one number from 0 to 255, or one for each channel."""
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    if len(values) not in (1, 3) or not all(_is_integer(v) and 0 <= v <= 255 for v in values):
        raise ValueError(
            f"{name} must be an integer from 0 to 255, or three of them for red, green, blue; found {value!r}"
        )
    return tuple(int(v) for v in values)


def fill_colour(fill: int | Sequence[int], channels: int) -> tuple[int, ...]:
    """Return what :func:`check_fill` returned for an image of so many channels; red, green, blue make a grey (luma)."""
    values = tuple(fill) if isinstance(fill, Sequence) else (fill,)
    if channels == 1 and len(values) == 3:
        red, green, blue = values
        return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16,)  # as Pillow converts to "L"
    return values * channels if len(values) == 1 else values


def check_filter(name: str, value: Any, choices: Sequence[str] = tuple(RESAMPLING)) -> str:
    """Return the name of a filter."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, found {value!r}")
    return str(value)


def check_count(name: str, value: Any, least: int) -> int:
    """Return an integer of at least ``least``."""
    if not _is_integer(value) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, found {value!r}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
