"""Maximum, average and global pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import backend
from . import _check

Array = NDArray[np.floating]
Pair = tuple[int, int]


class MaxPoolCache(NamedTuple):
    """Which pixel won every window."""

    argmax: NDArray[np.int32]  # (N, C, oh, ow), row * W + column
    image: Pair  # (H, W)


def max_pool2d(
    x: Array,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> tuple[Array, MaxPoolCache]:
    """Return the largest value in every window.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    kernel, stride, padding, dilation : int or (rows, columns)
        The stride defaults to the kernel; windows overlap when it is smaller. Padding never wins.
    ceil_mode : bool
        Round the output size up: the last window may hang over the edge, as in Caffe.

    Returns
    -------
    y : (N, C, oh, ow)
    cache : MaxPoolCache

    Notes
    -----
    The same operation as ``torch.nn.functional.max_pool2d``; of equal values the first wins.
    """
    x = _check.image_batch(x)
    kernel, stride, padding = _geometry(kernel, stride, padding)
    dilation = _check.pair(dilation, "dilation", 1)
    output = _output_size(x, kernel, stride, padding, dilation, ceil_mode)
    y, argmax = backend().max_pool2d(x, kernel, stride, padding, dilation, output)
    if dilation != (1, 1) and argmax.min() < 0:
        raise ValueError(
            f"a window of the dilated pool sees padding only: x has shape {x.shape}, kernel {kernel}, padding "
            f"{padding}, dilation {dilation}; use less padding, less dilation or a larger image"
        )
    return y, MaxPoolCache(argmax, (x.shape[2], x.shape[3]))


def max_pool2d_backward(dy: Array, cache: MaxPoolCache) -> Array:
    """Gradient of :func:`max_pool2d`: all of ``dy`` goes to the winner; overlapping windows add up."""
    dy = _check.image_batch(dy, "dy")
    _check.shape(dy, cache.argmax.shape, "dy")
    return backend().max_pool2d_backward(dy, cache.argmax, cache.image)


class AvgPoolCache(NamedTuple):
    """The geometry of an average pool."""

    shape: tuple[int, ...]  # (N, C, H, W)
    kernel: Pair
    stride: Pair
    padding: Pair
    divisor: Array  # (oh, ow), float64: how many pixels each window counts


def avg_pool2d(
    x: Array,
    kernel: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array, AvgPoolCache]:
    """Return the mean of every window, as ``torch.nn.functional.avg_pool2d``.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    kernel, stride, padding : int or (rows, columns)
    ceil_mode : bool
        Round the output size up. What hangs over the padded edge is never counted.
    count_include_pad : bool
        Count padding as zeros, or leave it out of the mean.
    """
    x = _check.image_batch(x)
    kernel, stride, padding = _geometry(kernel, stride, padding)
    output = _output_size(x, kernel, stride, padding, (1, 1), ceil_mode)
    counts = []
    for axis in range(2):
        size, pad = x.shape[2 + axis], padding[axis]
        start = np.arange(output[axis]) * stride[axis] - pad
        stop = np.minimum(start + kernel[axis], size + pad)
        counts.append(stop - start if count_include_pad else np.minimum(stop, size) - np.maximum(start, 0))
    divisor = np.outer(*counts).astype(np.float64)
    y = backend().avg_pool2d(x, kernel, stride, padding, divisor)
    return y, AvgPoolCache(x.shape, kernel, stride, padding, divisor)


def avg_pool2d_backward(dy: Array, cache: AvgPoolCache) -> Array:
    """Gradient of :func:`avg_pool2d`: every pixel of a window receives an equal share."""
    dy = _check.image_batch(dy, "dy")
    (N, C, H, W), kernel, stride, padding, divisor = cache
    _check.shape(dy, (N, C, *divisor.shape), "dy")
    return backend().avg_pool2d_backward(dy, (H, W), kernel, stride, padding, divisor)


class GlobalPoolCache(NamedTuple):
    """The kind of pool, the input's shape, and for a maximum where it was."""

    kind: str
    shape: tuple[int, ...]  # (N, C, H, W)
    argmax: NDArray[np.intp] | None  # (N, C)


def global_pool2d(x: Array, kind: str = "avg") -> tuple[Array, GlobalPoolCache]:
    """Pool every channel to one value: (N, C, H, W) -> (N, C, 1, 1).

    Parameters
    ----------
    kind : {"avg", "max", "avgmax", "catavgmax"}
        Mean, maximum, half the sum of both, or both side by side (N, 2 C, 1, 1), as timm's ``global_pool``.
    """
    x = _check.image_batch(x)
    if kind not in ("avg", "max", "avgmax", "catavgmax"):
        raise ValueError(f"unknown global pool {kind!r}; choose one of 'avg', 'max', 'avgmax', 'catavgmax'")
    pixels = x.reshape(*x.shape[:2], -1)  # (N, C, H*W)
    argmax = pixels.argmax(axis=2) if "max" in kind else None
    mean = pixels.mean(axis=2) if "avg" in kind else np.empty(0)
    largest = np.take_along_axis(pixels, argmax[:, :, None], axis=2)[:, :, 0] if argmax is not None else np.empty(0)
    if kind == "avgmax":
        y = (mean + largest) / 2
    elif kind == "catavgmax":
        y = np.concatenate([mean, largest], axis=1)
    else:
        y = mean if kind == "avg" else largest
    return y[:, :, None, None], GlobalPoolCache(kind, x.shape, argmax)


def global_pool2d_backward(dy: Array, cache: GlobalPoolCache) -> Array:
    """Gradient of :func:`global_pool2d`: the mean's spread over all pixels, the maximum's at its place."""
    kind, (N, C, H, W), argmax = cache
    dy = _check.image_batch(dy, "dy")
    _check.shape(dy, (N, 2 * C if kind == "catavgmax" else C, 1, 1), "dy")
    dy = dy[:, :, 0, 0]
    if kind == "catavgmax":
        of_mean, of_max = np.split(dy, 2, axis=1)
    elif kind == "avgmax":
        of_mean = of_max = dy / 2
    else:
        of_mean = of_max = dy
    dx = np.zeros((N, C, H * W), dy.dtype)
    if "avg" in kind:
        dx += (of_mean / (H * W))[:, :, None]
    if argmax is not None:
        share = np.take_along_axis(dx, argmax[:, :, None], axis=2) + of_max[:, :, None]
        np.put_along_axis(dx, argmax[:, :, None], share, axis=2)
    return dx.reshape(N, C, H, W)


def _geometry(
    kernel: int | Sequence[int], stride: int | Sequence[int] | None, padding: int | Sequence[int]
) -> tuple[Pair, Pair, Pair]:
    kernel = _check.pair(kernel, "kernel", 1)
    stride = _check.pair(kernel if stride is None else stride, "stride", 1)
    padding = _check.pair(padding, "padding", 0)
    if padding[0] > kernel[0] // 2 or padding[1] > kernel[1] // 2:
        raise ValueError(f"padding {padding} of a pool may be at most half of its kernel {kernel}")
    return kernel, stride, padding


def _output_size(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool) -> Pair:
    size = []
    for axis in range(2):
        window, padded = dilation[axis] * (kernel[axis] - 1) + 1, x.shape[2 + axis] + 2 * padding[axis]
        if window > padded:
            raise ValueError(
                f"the pool spans {window} pixels but the padded image only {padded}: x has shape {x.shape}, "
                f"padding {padding}; use a larger image"
            )
        steps = padded - window
        n = (-(-steps // stride[axis]) if ceil_mode else steps // stride[axis]) + 1
        if ceil_mode and (n - 1) * stride[axis] >= padded - padding[axis]:
            n -= 1  # the last window must begin inside the image or the padding before it
        size.append(n)
    return size[0], size[1]
