"""Style: type-annotated, with NamedTuples for caches and for what is returned.

Solves: conv2d_forward, conv2d_backward, batchnorm2d_forward, batchnorm2d_backward, max_pool2d_forward,
max_pool2d_backward, linear_forward, linear_backward, softmax_cross_entropy, sgd_momentum_step
"""
from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class ConvCache(NamedTuple):
    x: Array
    weight: Array
    bias: Optional[Array]
    stride: int
    padding: int
    dilation: int
    groups: int

    @property
    def per_group(self) -> Tuple[int, int]:
        return self.weight.shape[0] // self.groups, self.weight.shape[1]


class ConvGradients(NamedTuple):
    dx: Array
    dweight: Array
    dbias: Optional[Array] = None


class NormCache(NamedTuple):
    centred: Array
    inverse: Array
    gamma: Array
    training: bool


class NormResult(NamedTuple):
    y: Array
    cache: NormCache
    running_mean: Array
    running_var: Array


class Loss(NamedTuple):
    loss: float
    dlogits: Array


def conv2d_forward(
    x: Array, weight: Array, bias: Optional[Array] = None,
    stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1,
) -> Tuple[Array, ConvCache]:
    cache = ConvCache(x, weight, bias, stride, padding, dilation, groups)
    per_out, per_in = cache.per_group
    _, _, kh, kw = weight.shape
    padded: Array = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    rows: int = (padded.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    columns: int = (padded.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    y: Array = np.zeros((len(x), len(weight), rows, columns), x.dtype)
    for o in range(len(weight)):
        start = o // per_out * per_in
        for c in range(per_in):
            channel = padded[:, start + c]
            for i in range(kh):
                for j in range(kw):
                    window = channel[:, i * dilation:, j * dilation:][:, ::stride, ::stride]
                    y[:, o] += weight[o, c, i, j] * window[:, :rows, :columns]
        if bias is not None:
            y[:, o] += bias[o]
    return y, cache


def conv2d_backward(dy: Array, cache: ConvCache) -> ConvGradients:
    x, weight, bias, stride, padding, dilation, _ = cache
    per_out, per_in = cache.per_group
    _, _, kh, kw = weight.shape
    rows, columns = dy.shape[2:]
    padded: Array = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    dpadded, dweight = np.zeros_like(padded), np.zeros_like(weight)
    for o in range(len(weight)):
        start = o // per_out * per_in
        for c in range(per_in):
            for i in range(kh):
                for j in range(kw):
                    where = np.s_[:, start + c, i * dilation:, j * dilation:]
                    window = padded[where][:, ::stride, ::stride][:, :rows, :columns]
                    dweight[o, c, i, j] = np.vdot(window, dy[:, o])
                    dpadded[where][:, ::stride, ::stride][:, :rows, :columns] += weight[o, c, i, j] * dy[:, o]
    dx = dpadded[:, :, padding:, padding:][:, :, :x.shape[2], :x.shape[3]]
    return ConvGradients(dx, dweight, None if bias is None else dy.sum(axis=(0, 2, 3)))


def batchnorm2d_forward(
    x: Array, weight: Array, bias: Array, running_mean: Array, running_var: Array, training: bool,
    momentum: float = 0.1, eps: float = 1e-5,
) -> NormResult:
    column = (slice(None), None, None)
    if not training:
        centred, inverse = x - running_mean[column], 1.0 / np.sqrt(running_var + eps)
    else:
        centred = x - x.mean(axis=(0, 2, 3))[column]
        var = np.mean(centred**2, axis=(0, 2, 3))
        inverse = 1.0 / np.sqrt(var + eps)
        count = x.size // x.shape[1]
        running_mean = running_mean + momentum * (x.mean(axis=(0, 2, 3)) - running_mean)
        running_var = running_var + momentum * (var * count / (count - 1) - running_var)
    y = centred * (inverse * weight)[column] + bias[column]
    return NormResult(y, NormCache(centred, inverse, weight, training), running_mean, running_var)


def batchnorm2d_backward(dy: Array, cache: NormCache) -> Tuple[Array, Array, Array]:
    centred, inverse, gamma, training = cache
    column = (slice(None), None, None)
    dgamma = np.sum(dy * centred, axis=(0, 2, 3)) * inverse
    dbeta = np.sum(dy, axis=(0, 2, 3))
    dx = dy * (gamma * inverse)[column]
    if training:
        count = dy.size // dy.shape[1]
        dx = dx - (gamma * inverse * dbeta)[column] / count - centred * (gamma * inverse**2 * dgamma)[column] / count
    return dx, dgamma, dbeta


class PoolCache(NamedTuple):
    shape: Tuple[int, ...]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


def max_pool2d_forward(x: Array, kernel_size: int, stride: int, padding: int = 0) -> Tuple[Array, PoolCache]:
    N, C, H, W = x.shape
    oh, ow = ((s + 2 * padding - kernel_size) // stride + 1 for s in (H, W))
    y: Array = np.empty((N, C, oh, ow), x.dtype)
    row, column = np.empty(y.shape, np.int64), np.empty(y.shape, np.int64)
    for n, c, p, q in np.ndindex(*y.shape):
        top, left = max(p * stride - padding, 0), max(q * stride - padding, 0)
        bottom, right = min(p * stride - padding + kernel_size, H), min(q * stride - padding + kernel_size, W)
        window = x[n, c, top:bottom, left:right]
        i, j = np.unravel_index(np.argmax(window), window.shape)
        y[n, c, p, q], row[n, c, p, q], column[n, c, p, q] = window[i, j], top + i, left + j
    return y, PoolCache(x.shape, row, column)


def max_pool2d_backward(dy: Array, cache: PoolCache) -> Array:
    dx: Array = np.zeros(cache.shape, dy.dtype)
    for n, c, p, q in np.ndindex(*dy.shape):
        dx[n, c, cache.row[n, c, p, q], cache.column[n, c, p, q]] += dy[n, c, p, q]
    return dx


def linear_forward(x: Array, weight: Array, bias: Array) -> Tuple[Array, Tuple[Array, Array]]:
    return x @ weight.T + bias, (x, weight)


def linear_backward(dy: Array, cache: Tuple[Array, Array]) -> ConvGradients:
    x, weight = cache
    return ConvGradients(dy @ weight, dy.T @ x, dy.sum(axis=0))


def softmax_cross_entropy(logits: Array, labels: NDArray[np.int64]) -> Loss:
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    sums = exps.sum(axis=1)
    rows = np.arange(len(logits))
    gaps = logits.max(axis=1) - logits[rows, labels]
    dlogits = exps / sums[:, None]
    dlogits[rows, labels] -= 1
    return Loss(loss=float(np.mean(np.log(sums) + gaps)), dlogits=dlogits / len(logits))


class Step(NamedTuple):
    param: Array
    velocity: Array


def sgd_momentum_step(
    param: Array, grad: Array, velocity: Array, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> Step:
    velocity = momentum * velocity + grad + weight_decay * param
    return Step(param - lr * velocity, velocity)
