"""Style: pooling window by window, with argmax and unravel_index.

Solves: max_pool2d_forward, max_pool2d_backward, global_avg_pool_forward, global_avg_pool_backward
"""
import numpy as np


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    N, C, H, W = x.shape
    big = np.ones((N, C, H + 2 * padding, W + 2 * padding), dtype=x.dtype) * -1e30
    big[:, :, padding:H + padding, padding:W + padding] = x
    oh = (H + 2 * padding - kernel_size) // stride + 1
    ow = (W + 2 * padding - kernel_size) // stride + 1
    y = np.zeros((N, C, oh, ow), dtype=x.dtype)
    for i in range(oh):
        for j in range(ow):
            y[:, :, i, j] = np.max(big[:, :, i * stride:i * stride + kernel_size, j * stride:j * stride + kernel_size], axis=(2, 3))
    return y, (big, x, kernel_size, stride, padding)


def max_pool2d_backward(dy, cache):
    big, x, kernel_size, stride, padding = cache
    dbig = np.zeros_like(big)
    for n in range(dy.shape[0]):
        for c in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    window = big[n, c, i * stride:i * stride + kernel_size, j * stride:j * stride + kernel_size]
                    a, b = np.unravel_index(window.argmax(), window.shape)
                    dbig[n, c, i * stride + a, j * stride + b] += dy[n, c, i, j]
    if padding > 0:
        dbig = dbig[:, :, padding:-padding, padding:-padding]
    return dbig


def global_avg_pool_forward(x):
    N, C = x.shape[0], x.shape[1]
    y = np.zeros((N, C))
    for n in range(N):
        for c in range(C):
            y[n, c] = np.mean(x[n, c])
    return y, x


def global_avg_pool_backward(dy, cache):
    dx = np.zeros_like(cache)
    for n in range(dx.shape[0]):
        for c in range(dx.shape[1]):
            dx[n, c, :, :] = dy[n, c] / dx[n, c].size
    return dx
