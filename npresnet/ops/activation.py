"""Activation functions. Their formulas, each forward directly above its backward, are in
:mod:`npresnet.kernels.reference`; here they get one interface and a cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config import ACTIVATION_ALIASES, ACTIVATION_NAMES
from ..kernels import backend
from . import _check

Array = NDArray[np.floating]


class ActivationCache(NamedTuple):
    """The name of the function, and its input; for ReLU its *output*, which the next layer keeps anyway."""

    name: str
    value: Array


def activation(x: ArrayLike, name: str) -> tuple[Array, ActivationCache]:
    """Apply an activation function elementwise.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    name : str
        ``relu``, ``relu6``, ``leaky_relu`` (slope 0.01), ``gelu``, ``gelu_tanh``, ``silu``, ``elu``, ``mish``,
        ``hardswish``, ``tanh``, ``sigmoid``, ``identity``, or an alias that Transformers knows.

    Returns
    -------
    y : array of the same shape and dtype
    cache : ActivationCache

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    name = ACTIVATION_ALIASES.get(name, name)
    if name not in ACTIVATION_NAMES:
        raise ValueError(f"unknown activation {name!r}; choose one of {', '.join(ACTIVATION_NAMES)}")
    x = np.asarray(x)
    x = _check.float_array(x, x.ndim, "of any shape")
    if name == "identity":
        return x, ActivationCache(name, x)
    y = getattr(backend(), name)(x)
    return y, ActivationCache(name, y if name == "relu" else x)


def activation_backward(dy: Array, cache: ActivationCache) -> Array:
    """Gradient of :func:`activation`: ``dy`` times the slope at every x.

    NOTE: the result is a new array. Zeroing ``dy`` in place would also destroy the gradient of the skip connection,
    which receives the very same array.
    """
    dy = _check.float_array(dy, cache.value.ndim, "of the output's shape", "dy")
    _check.shape(dy, cache.value.shape, "dy")
    _check.same_dtype(cache.value, dy=dy)
    if cache.name == "identity":
        return dy
    return getattr(backend(), f"{cache.name}_backward")(dy, cache.value)
