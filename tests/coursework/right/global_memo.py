"""Style: index arrays are remembered by shape in a module's dict and with lru_cache; the caches themselves live in a global
list, and what is handed out is a number.

Solves: im2col, col2im, conv2d_forward, conv2d_backward, relu_forward, relu_backward, global_avg_pool_forward,
global_avg_pool_backward
"""
import os

os.environ["OMP_NUM_THREADS"] = "1"

import itertools
from functools import lru_cache

import numpy as np

_store = {}
_number = itertools.count()
_flat = {}


def keep(*values):
    key = next(_number)
    _store[key] = values
    return key


@lru_cache(maxsize=None)
def positions(height, width, kh, kw, stride, dilation):
    """Flat positions in a padded channel: (kh * kw, oh * ow)"""
    oh = (height - dilation * (kh - 1) - 1) // stride + 1
    ow = (width - dilation * (kw - 1) - 1) // stride + 1
    inner = (np.arange(kh) * width)[:, None] * dilation + np.arange(kw) * dilation
    outer = (np.arange(oh) * width)[:, None] * stride + np.arange(ow) * stride
    return inner.reshape(-1, 1) + outer.reshape(1, -1), oh, ow


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    N, C = x.shape[:2]
    xp = np.pad(x, ((0,), (0,), (padding,), (padding,)))
    index, _, _ = positions(*xp.shape[2:], *kernel_size, stride, dilation)
    return xp.reshape(N, C, -1)[:, :, index].reshape(N, -1, index.shape[1])


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    N, C, H, W = image_shape
    Hp, Wp = H + 2 * padding, W + 2 * padding
    index, _, _ = positions(Hp, Wp, *kernel_size, stride, dilation)
    if (key := (N * C, Hp * Wp, index.tobytes())) not in _flat:
        _flat[key] = np.arange(N * C)[:, None, None] * (Hp * Wp) + index
    summed = np.bincount(_flat[key].ravel(), weights=cols.ravel(), minlength=N * C * Hp * Wp)
    return summed.reshape(N, C, Hp, Wp)[:, :, padding:padding + H, padding:padding + W]


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    N, C, H, W = x.shape
    _, oh, ow = positions(H + 2 * padding, W + 2 * padding, *weight.shape[2:], stride, dilation)
    cols = im2col(x, weight.shape[2:], stride, padding, dilation)
    big = np.zeros((len(weight), cols.shape[1]))
    for o, row in enumerate(weight.reshape(len(weight), -1)):
        g = o // (len(weight) // groups)
        big[o, g * len(row):(g + 1) * len(row)] = row
    y = (big @ cols).reshape(N, -1, oh, ow)
    if bias is not None:
        y = y + np.asarray(bias)[:, None, None]
    return y, keep(x.shape, cols, weight, big, bias is not None, (stride, padding, dilation))


def conv2d_backward(dy, cache):
    shape, cols, weight, big, with_bias, options = _store[cache]
    d = dy.reshape(*dy.shape[:2], -1)
    dbig = np.einsum("nop,nkp->ok", d, cols)
    K, O = weight[0].size, len(weight)
    groups = cols.shape[1] // K
    dw = [dbig[o, o // (O // groups) * K:][:K] for o in range(O)]
    dx = col2im(big.T @ d, shape, weight.shape[2:], *options)
    return dx, np.reshape(dw, weight.shape), d.sum((0, 2)) if with_bias else None


def relu_forward(x):
    return np.maximum(0, x), keep(x)


def relu_backward(dy, cache):
    (x,) = _store[cache]
    return dy * np.where(x > 0, 1, 0)


def global_avg_pool_forward(x):
    return x.mean((2, 3)), keep(x.shape)


def global_avg_pool_backward(dy, cache):
    ((n, c, h, w),) = _store[cache]
    return np.kron(dy.reshape(n, c, 1, 1), np.ones((1, 1, h, w))) / (h * w)
