"""Style: dict caches that the backward function empties with pop, so that memory is given back; a second backward pass on
the same cache would raise KeyError.

Solves: conv2d_forward, conv2d_backward, batchnorm2d_forward, batchnorm2d_backward, relu_forward, relu_backward,
linear_forward, linear_backward
"""
import numpy as np


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    N, C, H, W = x.shape
    O, Cg, kh, kw = weight.shape
    oh = 1 + (H + 2 * padding - dilation * (kh - 1) - 1) // stride
    ow = 1 + (W + 2 * padding - dilation * (kw - 1) - 1) // stride
    rows = np.arange(oh)[:, None] * stride + np.arange(kh) * dilation  # oh, kh
    columns = np.arange(ow)[:, None] * stride + np.arange(kw) * dilation  # ow, kw
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    cols = xp[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # N, C, oh, ow, kh, kw
    cols = cols.reshape(N, groups, Cg, oh, ow, kh, kw)
    y = np.einsum("ngcpqij,gocij->ngopq", cols, weight.reshape(groups, -1, Cg, kh, kw)).reshape(N, O, oh, ow)
    if bias is not None:
        y = y + bias[:, None, None]
    cache = {"cols": cols, "w": weight, "shape": xp.shape, "rows": rows, "columns": columns, "p": padding}
    if bias is not None:
        cache["with bias"] = True
    return y, cache


def conv2d_backward(dy, cache):
    cols, w, p = cache.pop("cols"), cache.pop("w"), cache.pop("p")
    N, groups, Cg, oh, ow, kh, kw = cols.shape
    d = dy.reshape(N, groups, -1, oh, ow)
    dw = np.einsum("ngopq,ngcpqij->gocij", d, cols).reshape(w.shape)
    dcols = np.einsum("ngopq,gocij->ngcpqij", d, w.reshape(groups, -1, Cg, kh, kw)).reshape(N, -1, oh, ow, kh, kw)
    dxp = np.zeros(cache.pop("shape"))
    rows, columns = cache.pop("rows"), cache.pop("columns")
    np.add.at(dxp, (slice(None), slice(None), rows[:, None, :, None], columns[None, :, None, :]), dcols)
    dx = dxp[:, :, p:dxp.shape[2] - p, p:dxp.shape[3] - p]
    return dx, dw, dy.sum(axis=3).sum(axis=2).sum(axis=0) if cache.pop("with bias", False) else None


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    def shaped(v):
        return np.reshape(v, (1, len(v), 1, 1))

    cache = {"gamma": shaped(weight), "training": training}
    if training:
        mu = x.mean(axis=(0, 2, 3), keepdims=True)
        var = ((x - mu) ** 2).mean(axis=(0, 2, 3), keepdims=True)
        m = x.shape[0] * x.shape[2] * x.shape[3]
        running_mean = (1 - momentum) * running_mean + momentum * mu.ravel()
        running_var = (1 - momentum) * running_var + momentum * var.ravel() * m / (m - 1)
    else:
        mu, var = shaped(running_mean), shaped(running_var)
    cache["s"] = np.sqrt(var + eps)
    cache["h"] = (x - mu) / cache["s"]
    return cache["gamma"] * cache["h"] + shaped(bias), cache, np.array(running_mean), np.array(running_var)


def batchnorm2d_backward(dy, cache):
    h, s, gamma = cache.pop("h"), cache.pop("s"), cache.pop("gamma")
    axes = dict(axis=(0, 2, 3), keepdims=True)
    db, dw = dy.sum(**axes), (h * dy).sum(**axes)
    m = dy.size / dy.shape[1]
    dx = gamma / s * dy
    if cache.pop("training"):
        dx = gamma / (m * s) * (m * dy - db - h * dw)
    return dx, dw.ravel(), db.ravel()


def relu_forward(x):
    return np.clip(x, 0, None), {"x": x}


def relu_backward(dy, cache):
    return np.heaviside(cache.pop("x"), 0.0) * dy


def linear_forward(x, weight, bias):
    return np.dot(x, weight.T) + bias, {"x": x, "weight": weight}


def linear_backward(dy, cache):
    x = cache.pop("x")
    return np.dot(dy, cache.pop("weight")), np.dot(dy.T, x), np.sum(dy, axis=0)
