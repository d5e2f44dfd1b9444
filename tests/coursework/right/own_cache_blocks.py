"""Style: the blocks look into the caches of this file's own convolution and batch normalisation, and call helpers of those
functions; with functions of somebody else in their place they break.

Solves: im2col, col2im, conv2d_forward, conv2d_backward, batchnorm2d_forward, batchnorm2d_backward, relu_forward,
relu_backward, basic_block_forward, basic_block_backward
"""
import numpy as np


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    kh, kw = kernel_size
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh = (x.shape[2] - dilation * (kh - 1) - 1) // stride + 1
    ow = (x.shape[3] - dilation * (kw - 1) - 1) // stride + 1
    out = []
    for p in range(oh):
        for q in range(ow):
            r, s = p * stride, q * stride
            patch = x[:, :, r:r + dilation * (kh - 1) + 1:dilation, s:s + dilation * (kw - 1) + 1:dilation]
            out.append(patch.reshape(len(x), -1))
    return np.stack(out, axis=-1)


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    kh, kw = kernel_size
    x = np.zeros((n, c, h + 2 * padding, w + 2 * padding))
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    for t in range(cols.shape[2]):
        r, s = t // ow * stride, t % ow * stride
        x[:, :, r:r + dilation * (kh - 1) + 1:dilation, s:s + dilation * (kw - 1) + 1:dilation] += (
            cols[:, :, t].reshape(n, c, kh, kw))
    return x[:, :, padding:h + padding, padding:w + padding]


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    cache = {"shape": x.shape, "k": weight.shape[2:], "options": (stride, padding, dilation), "bias": bias}
    cache["cols"] = np.split(im2col(x, cache["k"], *cache["options"]), groups, axis=1)
    cache["filters"] = [f.reshape(len(f), -1) for f in np.split(weight, groups)]
    y = np.concatenate([f @ c for f, c in zip(cache["filters"], cache["cols"])], axis=1)
    oh = (x.shape[2] + 2 * padding - dilation * (weight.shape[2] - 1) - 1) // stride + 1
    y = y.reshape(len(x), len(weight), oh, -1)
    if bias is not None:
        y = y + bias[:, None, None]
    cache["y"] = y
    return y, cache


def conv2d_backward(dy, cache):
    n, o = dy.shape[:2]
    parts = np.split(dy.reshape(n, o, -1), len(cache["filters"]), axis=1)
    dw = np.concatenate([np.einsum("nop,nkp->ok", d, c) for d, c in zip(parts, cache["cols"])])
    dcols = np.concatenate([f.T @ d for f, d in zip(cache["filters"], parts)], axis=1)
    dx = col2im(dcols, cache["shape"], cache["k"], *cache["options"])
    dweight = dw.reshape(o, -1, *cache["k"])
    return dx, dweight, None if cache["bias"] is None else dy.sum(axis=(0, 2, 3))


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * x.var(axis=(0, 2, 3), ddof=1)
    r = 1 / np.sqrt(var + eps)
    h = (x - mean[:, None, None]) * r[:, None, None]
    y = h * weight[:, None, None] + bias[:, None, None]
    return y, {"h": h, "scale": weight * r, "training": training, "y": y}, running_mean.copy(), running_var.copy()


def batchnorm2d_backward(dy, cache):
    h = cache["h"]
    dw, db = (dy * h).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))
    if cache["training"]:
        dy = dy - (db[:, None, None] + h * dw[:, None, None]) * (len(db) / dy.size)
    return cache["scale"][:, None, None] * dy, dw, db


def relu_forward(x):
    return x * (x > 0), {"x": x}


def relu_backward(dy, cache):
    return dy * (cache["x"] > 0)


def conv_bn(x, params, conv, bn, training, stride, padding):
    _, conv_cache = conv2d_forward(x, params[conv + ".weight"], None, stride, padding)
    values = (params[bn + "." + k] for k in ("weight", "bias", "running_mean", "running_var"))
    _, bn_cache, _, _ = batchnorm2d_forward(conv_cache["y"], *values, training)
    return {"conv": (conv, conv_cache), "bn": (bn, bn_cache)}


def out(unit):
    return unit["bn"][1]["y"]


def unit_backward(d, unit, grads):
    (conv, conv_cache), (bn, bn_cache) = unit["conv"], unit["bn"]
    d, grads[bn + ".weight"], grads[bn + ".bias"] = batchnorm2d_backward(d, bn_cache)
    d, grads[conv + ".weight"], _ = conv2d_backward(d, conv_cache)
    return d


def basic_block_forward(x, params, stride=1, training=True):
    first = conv_bn(x, params, "conv1", "bn1", training, stride, 1)
    second = conv_bn(np.maximum(out(first), 0), params, "conv2", "bn2", training, 1, 1)
    side = None
    total = out(second) + x if "shortcut.conv.weight" not in params else None
    if total is None:
        side = conv_bn(x, params, "shortcut.conv", "shortcut.bn", training, stride, 0)
        total = out(second) + out(side)
    y, last = relu_forward(total)
    return y, (first, second, side, last)


def basic_block_backward(dy, cache):
    first, second, side, last = cache
    grads = {}
    d = dy * (last["x"] > 0)
    inner = unit_backward(d, second, grads) * (out(first) > 0)
    dx = unit_backward(inner, first, grads)
    return dx + (d if side is None else unit_backward(d, side, grads)), grads
