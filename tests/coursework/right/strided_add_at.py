"""Style: as_strided for the forward direction, fancy indices with np.add.at for the backward one (as in CS231n).

Solves: im2col, col2im, conv2d_forward, conv2d_backward, max_pool2d_forward, max_pool2d_backward
"""
import numpy as np
from numpy.lib.stride_tricks import as_strided


def out_size(H, W, kh, kw, stride, padding, dilation):
    return (
        int((H + 2 * padding - dilation * (kh - 1) - 1) / stride) + 1,
        int((W + 2 * padding - dilation * (kw - 1) - 1) / stride) + 1,
    )


def patches(xp, kh, kw, oh, ow, stride, dilation):
    N, C = xp.shape[:2]
    sn, sc, sh, sw = xp.strides
    return as_strided(
        xp,
        shape=(N, C, kh, kw, oh, ow),
        strides=(sn, sc, sh * dilation, sw * dilation, sh * stride, sw * stride),
        writeable=False,
    )


def indices(C, kh, kw, oh, ow, stride, dilation):
    i0 = np.tile(np.repeat(np.arange(kh) * dilation, kw), C)
    j0 = np.tile(np.arange(kw) * dilation, kh * C)
    i1 = stride * np.repeat(np.arange(oh), ow)
    j1 = stride * np.tile(np.arange(ow), oh)
    k = np.repeat(np.arange(C), kh * kw).reshape(-1, 1)
    return k, i0.reshape(-1, 1) + i1.reshape(1, -1), j0.reshape(-1, 1) + j1.reshape(1, -1)


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    N, C, H, W = x.shape
    kh, kw = kernel_size
    oh, ow = out_size(H, W, kh, kw, stride, padding, dilation)
    xp = np.ascontiguousarray(np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding))))
    return np.reshape(patches(xp, kh, kw, oh, ow, stride, dilation), (N, C * kh * kw, oh * ow))


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    N, C, H, W = image_shape
    kh, kw = kernel_size
    oh, ow = out_size(H, W, kh, kw, stride, padding, dilation)
    xp = np.zeros((N, C, H + 2 * padding, W + 2 * padding), dtype=cols.dtype)
    k, i, j = indices(C, kh, kw, oh, ow, stride, dilation)
    np.add.at(xp, (slice(None), k, i, j), cols)
    if padding == 0:
        return xp
    return xp[:, :, padding:-padding, padding:-padding]


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    N, C, H, W = x.shape
    O, Cg, kh, kw = weight.shape
    oh, ow = out_size(H, W, kh, kw, stride, padding, dilation)
    cols = im2col(x, (kh, kw), stride, padding, dilation)
    y = np.empty((N, O, oh * ow), dtype=x.dtype)
    for g in range(groups):
        rows = slice(g * Cg * kh * kw, (g + 1) * Cg * kh * kw)
        outs = slice(g * (O // groups), (g + 1) * (O // groups))
        y[:, outs] = weight[outs].reshape(O // groups, -1) @ cols[:, rows]
    if bias is not None:
        y += bias.reshape(-1, 1)
    return y.reshape(N, O, oh, ow), (x.shape, cols, weight, bias, stride, padding, dilation, groups)


def conv2d_backward(dy, cache):
    shape, cols, weight, bias, stride, padding, dilation, groups = cache
    O, Cg, kh, kw = weight.shape
    N = dy.shape[0]
    d = dy.reshape(N, O, -1)
    dcols = np.empty_like(cols)
    dw = np.empty_like(weight)
    for g in range(groups):
        rows = slice(g * Cg * kh * kw, (g + 1) * Cg * kh * kw)
        outs = slice(g * (O // groups), (g + 1) * (O // groups))
        dcols[:, rows] = weight[outs].reshape(O // groups, -1).T @ d[:, outs]
        total = 0
        for n in range(N):
            total = total + d[n, outs] @ cols[n, rows].T
        dw[outs] = total.reshape(-1, Cg, kh, kw)
    return col2im(dcols, shape, (kh, kw), stride, padding, dilation), dw, d.sum(2).sum(0) if bias is not None else None


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    N, C, H, W = x.shape
    k = kernel_size
    oh, ow = out_size(H, W, k, k, stride, padding, 1)
    lowest = np.finfo(x.dtype).min
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), "constant", constant_values=lowest)
    v = patches(xp, k, k, oh, ow, stride, 1).reshape(N, C, k * k, oh, ow)
    arg = v.argmax(2)
    return v.max(2), (x.shape, arg, k, stride, padding)


def max_pool2d_backward(dy, cache):
    (N, C, H, W), arg, k, stride, padding = cache
    xp = np.zeros((N, C, H + 2 * padding, W + 2 * padding), dtype=dy.dtype)
    n, c, p, q = np.indices(dy.shape)
    np.add.at(xp, (n, c, p * stride + arg // k, q * stride + arg % k), dy)
    return xp[:, :, padding:padding + H, padding:padding + W]
