"""Style: the backward pass of max pooling by comparison with the maximum; a maximum that occurs twice would share.

Solves: max_pool2d_forward, max_pool2d_backward
"""
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view as view


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    p = padding
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), mode="constant", constant_values=float("-inf"))
    y = view(x, (kernel_size, kernel_size), (2, 3))[:, :, ::stride, ::stride].max(axis=(4, 5))
    return y, dict(x=x, y=y, k=kernel_size, s=stride, p=p)


def max_pool2d_backward(dy, cache):
    x, y, k, s, p = cache.values()
    dx = np.zeros(x.shape, dy.dtype)
    windows = view(x, (k, k), (2, 3))[:, :, ::s, ::s]
    targets = view(dx, (k, k), (2, 3), writeable=True)[:, :, ::s, ::s]
    mask = windows == y[..., None, None]
    share = mask / mask.sum(axis=(4, 5), keepdims=True)
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):  # windows overlap: one at a time
            targets[:, :, i, j] += share[:, :, i, j] * dy[:, :, i, j, None, None]
    return dx[:, :, p:dx.shape[2] - p, p:dx.shape[3] - p]
