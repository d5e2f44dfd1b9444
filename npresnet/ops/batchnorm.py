"""Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167): two functions, training and evaluation, each with its
own backward, because they are different functions of x.

NOTE: two variances. The batch is normalised with the *biased* variance (divided by m), the running average collects
the *unbiased* one (divided by m - 1), as PyTorch does. Momentum is the weight of the new value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import backend
from . import _check

Array = NDArray[np.floating]


class BatchNormCache(NamedTuple):
    """Of either mode: the input and the statistics it was normalised with."""

    x: Array  # (N, C, H, W)
    mean: Array  # (C,)
    var: Array  # (C,), biased
    inv_std: Array  # (C,), 1 / sqrt(var + eps)
    weight: Array  # (C,)


def batchnorm2d_train(x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, BatchNormCache]:
    """Normalise every channel with the mean and variance of this batch.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    weight, bias : (C,)
        gamma and beta of the paper.
    eps : float
        Inside the root: ``1 / sqrt(var + eps)``.

    Returns
    -------
    y : (N, C, H, W)
    cache : BatchNormCache
        Holds the statistics that :func:`updated_running_statistics` needs.

    Raises
    ------
    ValueError
        If a channel has a single value: its variance would be zero and its output constant.
    """
    x = _check_input(x, weight=weight, bias=bias)
    if x.size == x.shape[1]:
        raise ValueError(
            f"batch normalisation in training needs more than one value per channel, found shape {x.shape}; "
            "use a larger batch or image, or evaluation mode"
        )
    mean, var = backend().batchnorm_statistics(x)  # (C,), (C,)
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    y = backend().batchnorm_normalize(x, mean, inv_std, weight, bias)
    return y, BatchNormCache(x, mean, var, inv_std, weight)


def batchnorm2d_train_backward(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """Gradients of :func:`batchnorm2d_train`.

    Mean and variance depend on every x, which adds two terms to dx: with x_hat = (x - mean) * inv_std and m values a
    channel, ``dx = weight * inv_std * (dy - sum(dy) / m - x_hat * sum(dy * x_hat) / m)``.

    Returns
    -------
    dx : (N, C, H, W)
    dweight, dbias : (C,)
    """
    dy = _check_gradient(dy, cache)
    x, mean, _, inv_std, weight = cache
    dbias, dweight = backend().batchnorm_sums(dy, x, mean, inv_std)
    dx = backend().batchnorm_backward(dy, x, mean, inv_std, weight, dbias, dweight)
    return dx, dweight, dbias


def batchnorm2d_eval(
    x: Array, weight: Array, bias: Array, mean: Array, var: Array, eps: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """Normalise every channel with given statistics: a scale and a shift.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    weight, bias, mean, var : (C,)
        The last two are the running statistics.
    """
    x = _check_input(x, weight=weight, bias=bias, mean=mean, var=var)
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    y = backend().batchnorm_normalize(x, mean, inv_std, weight, bias)
    return y, BatchNormCache(x, mean, var, inv_std, weight)


def batchnorm2d_eval_backward(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """Gradients of :func:`batchnorm2d_eval`: the statistics are constants, so ``dx = dy * weight * inv_std``."""
    dy = _check_gradient(dy, cache)
    x, mean, _, inv_std, weight = cache
    dbias, dweight = backend().batchnorm_sums(dy, x, mean, inv_std)
    zero = np.zeros_like(mean)
    dx = backend().batchnorm_normalize(dy, zero, inv_std, weight, zero)
    return dx, dweight, dbias


def updated_running_statistics(
    running_mean: Array, running_var: Array, cache: BatchNormCache, momentum: float = 0.1
) -> tuple[Array, Array]:
    """Return the running mean and variance after the batch in ``cache``, as new arrays (C,)."""
    m = cache.x.size // cache.x.shape[1]
    unbiased = cache.var * (m / (m - 1))
    dtype = running_mean.dtype
    mean = (1 - momentum) * running_mean + momentum * cache.mean
    return mean.astype(dtype), ((1 - momentum) * running_var + momentum * unbiased).astype(dtype)


def _check_input(x: Array, **vectors: Array) -> Array:
    x = _check.image_batch(x)
    _check.same_dtype(x, **vectors)
    for name, vector in vectors.items():
        _check.shape(vector, x.shape[1:2], name)
    return x


def _check_gradient(dy: Array, cache: BatchNormCache) -> Array:
    dy = _check.image_batch(dy, "dy")
    _check.shape(dy, cache.x.shape, "dy")
    _check.same_dtype(cache.x, dy=dy)
    return dy
