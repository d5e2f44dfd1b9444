"""Dropout of single values, and of whole residual branches (stochastic depth)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _check

Array = NDArray[np.floating]


class DropoutCache(NamedTuple):
    """What the input was multiplied with: zero, or 1 / (1 - rate)."""

    mask: Array  # broadcasts to x


def dropout(x: Array, rate: float, rng: np.random.Generator) -> tuple[Array, DropoutCache]:
    """Set values to zero with probability ``rate`` and scale the others to keep the mean (Srivastava et al. 2014)."""
    return _drop(x, np.shape(x), rate, rng)


def stochastic_depth(x: Array, rate: float, rng: np.random.Generator) -> tuple[Array, DropoutCache]:
    """Set a whole sample's branch to zero with probability ``rate``, scale the others (Huang et al. 2016)."""
    return _drop(x, (len(x),) + (1,) * (np.ndim(x) - 1), rate, rng)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """Gradient of :func:`dropout` and of :func:`stochastic_depth`: the same mask."""
    return dy * cache.mask


def _drop(x: Array, shape: tuple[int, ...], rate: float, rng: np.random.Generator) -> tuple[Array, DropoutCache]:
    if not 0 <= rate < 1:
        raise ValueError(f"the dropout rate is a probability in [0, 1), found {rate!r}")
    x = _check.float_array(x, np.ndim(x), "of any shape")
    mask = ((rng.random(shape) >= rate) / (1 - rate)).astype(x.dtype)
    return x * mask, DropoutCache(mask)
