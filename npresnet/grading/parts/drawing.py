"""What cases are made of: sizes from a table, and values that leave no doubt about the right answer.

Values have two decimals, so that a small case can be worked out on paper. None is near zero (a ReLU would have a kink
there), no two are equal where the larger one counts (a pooling would have a tie), and none is special: no ones, no
zeros, no symmetry, under which a wrong answer could pass for a right one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..part import Array, Settings


def in_turn(*tables: Settings, **same: Any) -> Callable[[np.random.Generator, int], Settings]:
    """Settings of the first, second ... case of a criterion, from one table each; the last serves for all others.

    A pair of numbers ``(low, high)`` in a table stands for a random number between them, both included. ``same`` holds
    what all tables have in common; a table's own entry is preferred.
    """

    def draw(rng: np.random.Generator, index: int) -> Settings:
        table = {**same, **tables[min(index, len(tables) - 1)]}
        return {name: _number(rng, value) for name, value in table.items()}

    return draw


def _number(rng: np.random.Generator, value: Any) -> Any:
    return int(rng.integers(value[0], value[1], endpoint=True)) if isinstance(value, tuple) else value


def values(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    """Numbers of both signs, from 0.1 to 2 in size times ``scale``, their mean not zero."""
    sizes = np.round(rng.uniform(0.1, 2.0, shape), 2)
    return scale * np.where(rng.random(shape) < 0.6, sizes, -sizes)


def positive(rng: np.random.Generator, *shape: int, low: float = 0.4, high: float = 1.8) -> Array:
    """Numbers of two decimals between two limits."""
    return np.round(rng.uniform(low, high, shape), 2)


def distinct(rng: np.random.Generator, *shape: int, negative: bool = False) -> Array:
    """Numbers at least 0.1 apart; all below zero, or of both signs."""
    count = int(np.prod(shape))
    steps = rng.permutation(count).reshape(shape)
    return np.round(-0.1 * (steps + 1) if negative else 0.1 * (steps - count // 3) + 0.05, 2)


def channels_last(x: Array) -> Array:
    """The same array with another order in memory: the channel's stride is the smallest."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def in_memory(x: Array, settings: Settings) -> Array:
    """An array in the order that the setting ``memory`` asks for."""
    return channels_last(x) if settings.get("memory") == "channels last" else x


def given(settings: Settings, names: Sequence[str]) -> dict[str, float]:
    """Numbers that settings give as text, such as ``"eps": "0.1"``; the text ``default`` leaves one out."""
    return {name: float(settings[name]) for name in names if settings[name] != "default"}


def options(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Keyword arguments of a call, each with the input of the same name."""
    return tuple((name, name) for name in names)
