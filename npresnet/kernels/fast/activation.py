"""Elementwise operations: the formula for one number, compiled into a NumPy ufunc when it is first used.

``NAME`` and ``NAME_backward`` work on arrays; ``_NAME`` and ``_NAME_backward`` are their formulas.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import parallel
from .compiler import ufunc

Array = NDArray[np.floating]
Scalar = Callable[..., float]

SQRT_HALF = math.sqrt(0.5)
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def elementwise(scalar: Scalar, arguments: int) -> Callable[..., Array]:
    """Turn a formula for one number into a function of whole arrays of equal shape and dtype."""
    compiled: Callable[[], Any] = functools.cache(lambda: ufunc(scalar, arguments))

    @functools.wraps(scalar)
    def on_arrays(*arrays: Array) -> Array:
        out = np.empty(arrays[0].shape, arrays[0].dtype)
        flat, flat_out = [a.reshape(-1) for a in arrays], out.reshape(-1)
        parts = parallel.blocks(out.size, parallel.pieces(out.size))

        def apply(index: int) -> None:
            # A NaN stays a NaN, and a compiled formula may work out a branch that it does not take: no reason to warn.
            with np.errstate(all="ignore"):
                compiled()(*(a[parts[index]] for a in flat), flat_out[parts[index]])

        parallel.for_each(apply, len(parts))
        return out

    return on_arrays


def _add(x: float, y: float) -> float:
    return x + y


def _relu(x: float) -> float:
    return 0 if x < 0 else x  # a NaN stays a NaN


def _relu_backward(dy: float, y: float) -> float:
    return dy if y > 0 else 0


def _relu6(x: float) -> float:
    return 0 if x < 0 else 6 if x > 6 else x


def _relu6_backward(dy: float, x: float) -> float:
    return dy if 0 < x < 6 else 0


def _leaky_relu(x: float) -> float:
    return x if x > 0 else 0.01 * x


def _leaky_relu_backward(dy: float, x: float) -> float:
    return dy if x > 0 else 0.01 * dy


def _gelu(x: float) -> float:
    return x * 0.5 * (1 + math.erf(x * SQRT_HALF))


def _gelu_backward(dy: float, x: float) -> float:
    density = math.exp(-0.5 * x * x) * SQRT_HALF / math.sqrt(math.pi)
    return dy * (0.5 * (1 + math.erf(x * SQRT_HALF)) + x * density)


def _gelu_tanh(x: float) -> float:
    return 0.5 * x * (1 + math.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))


def _gelu_tanh_backward(dy: float, x: float) -> float:
    t = math.tanh(SQRT_2_OVER_PI * (x + 0.044715 * x * x * x))
    return dy * 0.5 * (1 + t + x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * 0.044715 * x * x))


def _silu(x: float) -> float:
    e = math.exp(-abs(x))  # cannot overflow
    return x / (1 + e) if x > 0 else x * e / (1 + e)


def _silu_backward(dy: float, x: float) -> float:
    e = math.exp(-abs(x))
    s = 1 / (1 + e) if x > 0 else e / (1 + e)
    return dy * s * (1 + x * (1 - s))


def _elu(x: float) -> float:
    return x if x > 0 else math.expm1(x)


def _elu_backward(dy: float, x: float) -> float:
    return dy if x > 0 else dy * math.exp(x)


def _mish(x: float) -> float:
    return x * math.tanh(max(x, 0.0) + math.log1p(math.exp(-abs(x))))


def _mish_backward(dy: float, x: float) -> float:
    e = math.exp(-abs(x))
    t = math.tanh(max(x, 0.0) + math.log1p(e))
    s = 1 / (1 + e) if x > 0 else e / (1 + e)
    return dy * (t + x * (1 - t * t) * s)


def _hardswish(x: float) -> float:
    return x * (0 if x <= -3 else 1 if x >= 3 else (x + 3) / 6)


def _hardswish_backward(dy: float, x: float) -> float:
    return 0 if x <= -3 else dy if x >= 3 else dy * (2 * x + 3) / 6


def _tanh(x: float) -> float:
    return math.tanh(x)


def _tanh_backward(dy: float, x: float) -> float:
    t = math.tanh(x)
    return dy * (1 - t * t)


def _sigmoid(x: float) -> float:
    e = math.exp(-abs(x))  # cannot overflow
    return 1 / (1 + e) if x > 0 else e / (1 + e)


def _sigmoid_backward(dy: float, x: float) -> float:
    e = math.exp(-abs(x))
    return dy * e / ((1 + e) * (1 + e))


add = elementwise(_add, 2)
relu, relu_backward = elementwise(_relu, 1), elementwise(_relu_backward, 2)
relu6, relu6_backward = elementwise(_relu6, 1), elementwise(_relu6_backward, 2)
leaky_relu, leaky_relu_backward = elementwise(_leaky_relu, 1), elementwise(_leaky_relu_backward, 2)
gelu, gelu_backward = elementwise(_gelu, 1), elementwise(_gelu_backward, 2)
gelu_tanh, gelu_tanh_backward = elementwise(_gelu_tanh, 1), elementwise(_gelu_tanh_backward, 2)
silu, silu_backward = elementwise(_silu, 1), elementwise(_silu_backward, 2)
elu, elu_backward = elementwise(_elu, 1), elementwise(_elu_backward, 2)
mish, mish_backward = elementwise(_mish, 1), elementwise(_mish_backward, 2)
hardswish, hardswish_backward = elementwise(_hardswish, 1), elementwise(_hardswish_backward, 2)
tanh, tanh_backward = elementwise(_tanh, 1), elementwise(_tanh_backward, 2)
sigmoid, sigmoid_backward = elementwise(_sigmoid, 1), elementwise(_sigmoid_backward, 2)
