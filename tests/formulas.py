"""The operations once more, straight from their definitions: one output value at a time, in float64.

Slow, and written without a look at the package: they are what the tests believe in.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]


def conv2d(
    x: Array, w: Array, b: Array | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> NDArray[np.float64]:
    """y[n, o, p, q] = b[o] + sum over c, i, j of x[n, c, p sh + i dh - ph, q sw + j dw - pw] w[o, c, i, j]."""
    N, _, H, W = x.shape
    O, per_group, kh, kw = w.shape
    oh = (H + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    ow = (W + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    y = np.zeros((N, O, oh, ow))
    for o in range(O):
        first = o // (O // groups) * per_group
        for p in range(oh):
            for q in range(ow):
                total = np.zeros(N) if b is None else np.full(N, float(b[o]))
                for i in range(kh):
                    for j in range(kw):
                        row = p * stride[0] + i * dilation[0] - padding[0]
                        column = q * stride[1] + j * dilation[1] - padding[1]
                        if 0 <= row < H and 0 <= column < W:
                            pixels = x[:, first : first + per_group, row, column].astype(np.float64)
                            total += pixels @ w[o, :, i, j].astype(np.float64)
                y[:, o, p, q] = total
    return y


def pool_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Lay windows side by side from -padding on, as many as fit; rounding up, one more if pixels or padding are left
    over, and it starts before the image ends."""
    span, end, count = dilation * (kernel - 1) + 1, size + padding, 0
    while count * stride - padding + span <= end:
        count += 1
    left_over = end - ((count - 1) * stride - padding + span)
    return count + (ceil_mode and left_over > 0 and count * stride - padding < size)


def max_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Array:
    """The largest of the pixels under each window."""
    N, C, H, W = x.shape
    oh, ow = (pool_size((H, W)[a], kernel[a], stride[a], padding[a], dilation[a], ceil_mode) for a in range(2))
    y = np.empty((N, C, oh, ow), x.dtype)
    for n, c, p, q in np.ndindex(*y.shape):
        rows = [r for i in range(kernel[0]) if 0 <= (r := p * stride[0] + i * dilation[0] - padding[0]) < H]
        columns = [s for j in range(kernel[1]) if 0 <= (s := q * stride[1] + j * dilation[1] - padding[1]) < W]
        y[n, c, p, q] = max(x[n, c, r, s] for r in rows for s in columns)
    return y


def avg_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool, count_include_pad: bool
) -> NDArray[np.float64]:
    """The mean of the pixels under each window, zeros of the padding counted or not."""
    N, C, H, W = x.shape
    oh, ow = (pool_size((H, W)[a], kernel[a], stride[a], padding[a], 1, ceil_mode) for a in range(2))
    y = np.empty((N, C, oh, ow))
    for n, c, p, q in np.ndindex(*y.shape):
        total, count = 0.0, 0
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                row, column = p * stride[0] + i - padding[0], q * stride[1] + j - padding[1]
                if 0 <= row < H and 0 <= column < W:
                    total, count = total + float(x[n, c, row, column]), count + 1
                elif count_include_pad and row < H + padding[0] and column < W + padding[1]:
                    count += 1
        y[n, c, p, q] = total / count
    return y


def activation(name: str, x: float) -> float:
    """One number, with the standard library's functions."""
    if name in ("gelu_tanh", "silu", "mish", "sigmoid") and x < -700:
        return 0.0  # math.exp(-x) overflows
    sigmoid = 1 / (1 + math.exp(-x)) if x > -700 else 0.0
    return {
        "relu": lambda: x if x > 0 else 0.0,
        "relu6": lambda: 0.0 if x < 0 else 6.0 if x > 6 else x,
        "leaky_relu": lambda: x if x > 0 else x / 100,
        "gelu": lambda: x / 2 * math.erfc(-x / math.sqrt(2)),
        "gelu_tanh": lambda: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "silu": lambda: x * sigmoid,
        "elu": lambda: x if x > 0 else math.exp(x) - 1,
        "mish": lambda: x * math.tanh(math.log1p(math.exp(x)) if x < 700 else x),
        "hardswish": lambda: 0.0 if x < -3 else x if x > 3 else x * (x + 3) / 6,
        "tanh": lambda: math.tanh(x),
        "sigmoid": lambda: sigmoid,
        "identity": lambda: x,
    }[name]()


def softmax(row: Array) -> list[float]:
    """Probabilities of one row of logits."""
    powers = [math.exp(float(v) - float(max(row))) for v in row]
    return [p / sum(powers) for p in powers]
