"""Style: whatever comes in, float32 goes out; the work is done in float64.

Solves: conv2d_forward, conv2d_backward, batchnorm2d_forward, batchnorm2d_backward, relu_forward, relu_backward,
global_avg_pool_forward, global_avg_pool_backward, softmax_cross_entropy, sgd_momentum_step
"""
import functools

import numpy as np


def in_float32(function):
    """Every array that the function returns, rounded to float32."""
    @functools.wraps(function)
    def rounded(*args, **kwargs):
        result = function(*args, **kwargs)
        if isinstance(result, tuple):
            return tuple(r.astype(np.float32) if isinstance(r, np.ndarray) else r for r in result)
        return result.astype(np.float32)
    return rounded


@in_float32
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x, w = x.astype(np.float64), weight.astype(np.float64)
    n, c, H, W = x.shape
    o, cg, kh, kw = w.shape
    xp = np.pad(x, [(0, 0)] * 2 + [(padding, padding)] * 2)
    oh = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, o, oh, ow))
    for p in range(oh):
        for q in range(ow):
            r, s = p * stride, q * stride
            patch = xp[:, :, r:r + dilation * (kh - 1) + 1:dilation, s:s + dilation * (kw - 1) + 1:dilation]
            for k in range(o):
                first = k // (o // groups) * cg
                y[:, k, p, q] = np.sum(patch[:, first:first + cg] * w[k], axis=(1, 2, 3))
    if bias is not None:
        y += bias[None, :, None, None]
    return y, {"xp": xp, "w": w, "bias": bias, "options": (stride, padding, dilation, groups)}


@in_float32
def conv2d_backward(dy, cache):
    xp, w = cache["xp"], cache["w"]
    stride, padding, dilation, groups = cache["options"]
    dy = dy.astype(np.float64)
    n, o, oh, ow = dy.shape
    _, cg, kh, kw = w.shape
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for p in range(oh):
        for q in range(ow):
            r, s = p * stride, q * stride
            rows, columns = (slice(a, a + dilation * (k - 1) + 1, dilation) for a, k in ((r, kh), (s, kw)))
            for k in range(o):
                first = k // (o // groups) * cg
                here = (slice(None), slice(first, first + cg), rows, columns)
                d = dy[:, k, p, q][:, None, None, None]
                dxp[here] += d * w[k]
                dw[k] += (d * xp[here]).sum(axis=0)
    inner = slice(padding, -padding if padding else None)
    return dxp[:, :, inner, inner], dw, dy.sum(axis=(0, 2, 3)) if cache["bias"] is not None else None


@in_float32
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    x = x.astype(np.float64)
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        out = [(1 - momentum) * running_mean + momentum * mean,
               (1 - momentum) * running_var + momentum * x.var((0, 2, 3), ddof=1)]
    else:
        mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)
        out = [mean, var]
    h = (x - mean[:, None, None]) / np.sqrt(var + eps)[:, None, None]
    return weight[:, None, None] * h + bias[:, None, None], (h, weight / np.sqrt(var + eps), training), *out


@in_float32
def batchnorm2d_backward(dy, cache):
    h, scale, training = cache
    dw, db = (dy * h).sum((0, 2, 3), dtype=float), dy.sum((0, 2, 3), dtype=float)
    m = h.size / len(scale) if training else np.inf
    return scale[:, None, None] * (dy - db[:, None, None] / m - h * dw[:, None, None] / m), dw, db


@in_float32
def relu_forward(x):
    return (np.abs(x) + x) / 2, (x > 0,)


@in_float32
def relu_backward(dy, cache):
    return dy * cache[0].astype(dy.dtype)


@in_float32
def global_avg_pool_forward(x):
    return x.reshape(*x.shape[:2], -1).mean(-1), (x.shape,)


@in_float32
def global_avg_pool_backward(dy, cache):
    (shape,) = cache
    return np.repeat(dy / (shape[2] * shape[3]), shape[2] * shape[3], axis=1).reshape(shape)


def softmax_cross_entropy(logits, labels):
    z = logits.astype(np.float64)
    z = z - z.max(1, keepdims=True)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    loss = np.float32(0)
    for row, label in zip(z, labels):
        loss += np.float32(np.log(np.exp(row).sum()) - row[label])
    p[np.arange(len(p)), labels] -= 1
    return loss / np.float32(len(p)), (p / len(p)).astype(np.float32)  # np.float32, twice


@in_float32
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    v = momentum * velocity + grad + weight_decay * param
    return param - lr * v, v
