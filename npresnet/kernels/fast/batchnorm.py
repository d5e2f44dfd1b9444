"""Batch normalisation: each thread takes some channels, which stay in its cache from one pass to the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import parallel
from .compiler import jit

Array = NDArray[np.floating]


def batchnorm_statistics(x: Array) -> tuple[Array, Array]:
    """See :func:`npresnet.kernels.reference.batchnorm_statistics`."""
    mean, var = np.empty((2, x.shape[1]), x.dtype)
    parallel.over_channels(x, lambda a, b: _statistics(_planes(x), mean, var, a, b))
    return mean, var


def batchnorm_normalize(x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array) -> Array:
    """See :func:`npresnet.kernels.reference.batchnorm_normalize`."""
    y, scale = np.empty(x.shape, x.dtype), weight * inv_std
    parallel.over_channels(x, lambda a, b: _normalize(_planes(x), _planes(y), mean, scale, bias, a, b))
    return y


def batchnorm_sums(dy: Array, x: Array, mean: Array, inv_std: Array) -> tuple[Array, Array]:
    """See :func:`npresnet.kernels.reference.batchnorm_sums`."""
    dbias, dweight = np.empty((2, x.shape[1]), x.dtype)
    parallel.over_channels(x, lambda a, b: _sums(_planes(dy), _planes(x), mean, inv_std, dbias, dweight, a, b))
    return dbias, dweight


def batchnorm_backward(
    dy: Array, x: Array, mean: Array, inv_std: Array, weight: Array, dbias: Array, dweight: Array
) -> Array:
    """See :func:`npresnet.kernels.reference.batchnorm_backward`."""
    dx = np.empty(x.shape, x.dtype)
    m = x.size // x.shape[1]
    # dx = scale * (dy - (dbias + (x - mean) * inv_std * dweight) / m), as one multiply-add each in dy and x
    scale = weight * inv_std
    slope = -scale * inv_std * dweight / m
    constant = -scale * dbias / m
    parallel.over_channels(
        x, lambda a, b: _backward(_planes(dy), _planes(x), _planes(dx), mean, scale, slope, constant, a, b)
    )
    return dx


def _planes(x: Array) -> Array:
    return x.reshape(*x.shape[:2], -1)  # (N, C, H * W): one long loop a channel


@jit
def _statistics(x, mean, var, first, last):  # type: ignore[no-untyped-def]
    N, _, size = x.shape
    for c in range(first, last):
        total = 0.0
        for n in range(N):
            plane = x[n, c]
            for i in range(size):
                total += np.float64(plane[i])
        centre = total / (N * size)
        total = 0.0
        for n in range(N):
            plane = x[n, c]
            for i in range(size):
                total += (np.float64(plane[i]) - centre) ** 2
        mean[c] = centre
        var[c] = total / (N * size)


@jit
def _normalize(x, y, mean, scale, bias, first, last):  # type: ignore[no-untyped-def]
    N, _, size = x.shape
    for n in range(N):
        for c in range(first, last):
            source, target = x[n, c], y[n, c]
            m, s, b = mean[c], scale[c], bias[c]
            for i in range(size):
                target[i] = (source[i] - m) * s + b


@jit
def _sums(dy, x, mean, inv_std, dbias, dweight, first, last):  # type: ignore[no-untyped-def]
    N, _, size = x.shape
    for c in range(first, last):
        of_dy, of_dy_x = 0.0, 0.0
        m = mean[c]
        for n in range(N):
            upstream, source = dy[n, c], x[n, c]
            for i in range(size):
                of_dy += np.float64(upstream[i])
                of_dy_x += np.float64(upstream[i] * (source[i] - m))
        dbias[c] = of_dy
        dweight[c] = of_dy_x * inv_std[c]


@jit
def _backward(dy, x, dx, mean, scale, slope, constant, first, last):  # type: ignore[no-untyped-def]
    N, _, size = x.shape
    for n in range(N):
        for c in range(first, last):
            upstream, source, target = dy[n, c], x[n, c], dx[n, c]
            m, s, a, b = mean[c], scale[c], slope[c], constant[c]
            for i in range(size):
                target[i] = upstream[i] * s + (source[i] - m) * a + b
