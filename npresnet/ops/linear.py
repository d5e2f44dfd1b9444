"""The fully connected layer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import parallel
from . import _check

Array = NDArray[np.floating]


class LinearCache(NamedTuple):
    """Input and weight of a linear layer."""

    x: Array  # (N, F)
    weight: Array  # (O, F)
    has_bias: bool


def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, LinearCache]:
    """Return ``x @ weight.T + bias``: (N, F), (O, F), (O,) -> (N, O)."""
    x = _check.float_array(x, 2, "(N, F)")
    _check.same_dtype(x, weight=weight, bias=bias)
    if weight.ndim != 2 or weight.shape[1] != x.shape[1]:
        raise ValueError(f"weight must have shape (O, {x.shape[1]}) for x of shape {x.shape}, found {weight.shape}")
    y = parallel.matmul(x, weight.T)
    if bias is not None:
        _check.shape(bias, weight.shape[:1], "bias")
        y += bias
    return y, LinearCache(x, weight, bias is not None)


def linear_backward(dy: Array, cache: LinearCache) -> tuple[Array, Array, Array | None]:
    """Gradients of :func:`linear`: ``dx = dy @ weight`` (N, F), ``dw = dy.T @ x`` (O, F), ``db = sum(dy)`` (O,)."""
    dy = _check.float_array(dy, 2, "(N, O)", "dy")
    _check.shape(dy, (len(cache.x), len(cache.weight)), "dy")
    _check.same_dtype(cache.x, dy=dy)
    dx, dw = parallel.matmul(dy, cache.weight), parallel.matmul(dy.T, cache.x)
    return dx, dw, dy.sum(axis=0) if cache.has_bias else None
