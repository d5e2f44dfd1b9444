"""Max and average pooling, image by image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import parallel
from .compiler import jit

Array = NDArray[np.floating]
Pair = tuple[int, int]


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair
) -> tuple[Array, NDArray[np.int32]]:
    """See :func:`npresnet.kernels.reference.max_pool2d`."""
    y = np.empty((*x.shape[:2], *output), x.dtype)
    argmax = np.empty(y.shape, np.int32)
    geometry = (*kernel, *stride, *padding, *dilation)
    parallel.over_channels(x, lambda a, b: _max_pool2d(x, y, argmax, *geometry, a, b))
    return y, argmax


def max_pool2d_backward(dy: Array, argmax: NDArray[np.int32], image: Pair) -> Array:
    """See :func:`npresnet.kernels.reference.max_pool2d_backward`."""
    dx = np.empty((*dy.shape[:2], *image), dy.dtype)
    parallel.over_channels(dx, lambda a, b: _max_pool2d_backward(dy, argmax, dx.reshape(*dy.shape[:2], -1), a, b))
    return dx


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, divisor: Array) -> Array:
    """See :func:`npresnet.kernels.reference.avg_pool2d`."""
    y = np.empty((*x.shape[:2], *divisor.shape), x.dtype)
    divisor = divisor.astype(x.dtype)
    parallel.over_channels(x, lambda a, b: _avg_pool2d(x, y, *kernel, *stride, *padding, divisor, a, b))
    return y


def avg_pool2d_backward(dy: Array, image: Pair, kernel: Pair, stride: Pair, padding: Pair, divisor: Array) -> Array:
    """See :func:`npresnet.kernels.reference.avg_pool2d_backward`."""
    dx = np.empty((*dy.shape[:2], *image), dy.dtype)
    divisor = divisor.astype(dy.dtype)
    parallel.over_channels(dx, lambda a, b: _avg_pool2d_backward(dy, dx, *kernel, *stride, *padding, divisor, a, b))
    return dx


@jit
def _max_pool2d(x, y, argmax, kh, kw, sh, sw, ph, pw, dh, dw, first, last):  # type: ignore[no-untyped-def]
    N, _, H, W = x.shape
    oh, ow = y.shape[2:]
    for n in range(N):
        for c in range(first, last):
            plane = x[n, c]
            for p in range(oh):
                for q in range(ow):
                    best, where = plane.dtype.type(-np.inf), -1
                    for i in range(kh):
                        row = p * sh + i * dh - ph
                        if row < 0 or row >= H:
                            continue
                        for j in range(kw):
                            column = q * sw + j * dw - pw
                            if column < 0 or column >= W:
                                continue
                            value = plane[row, column]
                            if value > best or where < 0 or (value != value and best == best):
                                best, where = value, row * W + column
                    y[n, c, p, q] = best
                    argmax[n, c, p, q] = where


@jit
def _max_pool2d_backward(dy, argmax, dx, first, last):  # type: ignore[no-untyped-def]
    N, _, oh, ow = dy.shape
    for n in range(N):
        for c in range(first, last):
            plane = dx[n, c]
            plane[:] = 0
            for p in range(oh):
                for q in range(ow):
                    plane[argmax[n, c, p, q]] += dy[n, c, p, q]


@jit
def _avg_pool2d(x, y, kh, kw, sh, sw, ph, pw, divisor, first, last):  # type: ignore[no-untyped-def]
    N, _, H, W = x.shape
    oh, ow = y.shape[2:]
    for n in range(N):
        for c in range(first, last):
            plane = x[n, c]
            for p in range(oh):
                for q in range(ow):
                    total = plane.dtype.type(0)
                    for row in range(max(p * sh - ph, 0), min(p * sh - ph + kh, H)):
                        for column in range(max(q * sw - pw, 0), min(q * sw - pw + kw, W)):
                            total += plane[row, column]
                    y[n, c, p, q] = total / divisor[p, q]


@jit
def _avg_pool2d_backward(dy, dx, kh, kw, sh, sw, ph, pw, divisor, first, last):  # type: ignore[no-untyped-def]
    N, _, H, W = dx.shape
    oh, ow = dy.shape[2:]
    for n in range(N):
        for c in range(first, last):
            plane = dx[n, c]
            plane[:] = 0
            for p in range(oh):
                for q in range(ow):
                    share = dy[n, c, p, q] / divisor[p, q]
                    for row in range(max(p * sh - ph, 0), min(p * sh - ph + kh, H)):
                        for column in range(max(q * sw - pw, 0), min(q * sw - pw + kw, W)):
                            plane[row, column] += share
