"""Style: modern Python with match, walrus and keyword-only helpers; fast ways for 1x1 kernels and for no padding; recursion for
groups; a check of the gradient when the file is read.

Solves: conv2d_forward, conv2d_backward, relu_forward, relu_backward, bottleneck_block_forward, bottleneck_block_backward
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Grads: TypeAlias = "dict[str, NDArray[np.floating]]"


def shifted(size: tuple[int, int], out: tuple[int, int], *, stride: int, dilation: int) -> Iterator[tuple[int, int, Any]]:
    for i, j in np.ndindex(*size):
        yield i, j, (..., *(slice(k * dilation, k * dilation + n * stride, stride) for k, n in zip((i, j), out)))


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if groups > 1:
        blocks = zip(np.split(x, groups, axis=1), np.split(weight, groups))
        results = [conv2d_forward(a, w, None, stride, padding, dilation) for a, w in blocks]
        y = np.concatenate([r[0] for r in results], axis=1)
        return _with_bias(y, bias), {"kind": "groups", "inner": [r[1] for r in results], "bias": bias}
    match weight.shape[2:], padding:
        case (1, 1), 0:
            picked = x[:, :, ::stride, ::stride]
            y = np.einsum("nchw,oc->nohw", picked, weight[:, :, 0, 0])
            cache = {"kind": "1x1", "picked": picked, "shape": x.shape, "weight": weight, "stride": stride}
        case kernel, _:
            xp = x if not padding else np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
            out = tuple((n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(xp.shape[2:], kernel))
            y = 0.0
            for i, j, at in shifted(kernel, out, stride=stride, dilation=dilation):
                y = y + np.einsum("nchw,oc->nohw", xp[at], weight[:, :, i, j])
            cache = {"kind": "any", "xp": xp, "weight": weight, "stride": stride, "padding": padding, "dilation": dilation}
    return _with_bias(y, bias), cache | {"bias": bias}


def _with_bias(y, bias):
    return y if bias is None else y + bias[None, :, None, None]


def conv2d_backward(dy, cache):
    dbias = None if (bias := cache["bias"]) is None else dy.sum(axis=(0, 2, 3)).reshape(bias.shape)
    match cache:
        case {"kind": "groups", "inner": inner}:
            found = [conv2d_backward(d, c) for d, c in zip(np.split(dy, len(inner), axis=1), inner)]
            return np.concatenate([f[0] for f in found], axis=1), np.concatenate([f[1] for f in found]), dbias
        case {"kind": "1x1", "picked": picked, "shape": shape, "weight": weight, "stride": stride}:
            dx = np.zeros(shape, dy.dtype)
            dx[:, :, ::stride, ::stride] = np.einsum("nohw,oc->nchw", dy, weight[:, :, 0, 0])
            return dx, np.einsum("nohw,nchw->oc", dy, picked)[:, :, None, None], dbias
        case {"xp": xp, "weight": weight, "stride": stride, "padding": p, "dilation": dilation}:
            dxp, dw = np.zeros_like(xp), np.empty_like(weight)
            for i, j, at in shifted(weight.shape[2:], dy.shape[2:], stride=stride, dilation=dilation):
                dxp[at] += np.einsum("nohw,oc->nchw", dy, weight[:, :, i, j])
                dw[:, :, i, j] = np.einsum("nohw,nchw->oc", dy, xp[at])
            return (dxp[:, :, p:-p, p:-p] if p else dxp), dw, dbias
        case _:
            raise AssertionError(f"no such cache: {cache}")


def relu_forward(x):
    return x.clip(min=0), x > 0


def relu_backward(dy, cache):
    dx = np.zeros_like(dy)
    dx[cache] = dy[cache]
    return dx


def bottleneck_block_forward(x, params, stride=1, training=True):
    def unit(t, conv, bn, /, *, relu=True, **options):
        t, conv_cache = conv2d_forward(t, params[f"{conv}.weight"], **options)
        stats = {k: params[f"{bn}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
        t, bn_cache, *_ = batchnorm2d_forward(t, **stats, training=training)
        mask = None
        if relu:
            t, mask = relu_forward(t)
        return t, (conv, bn, conv_cache, bn_cache, mask)

    t, *units = x,
    for number, options in enumerate(({}, {"stride": stride, "padding": 1}, {"relu": False}), start=1):
        t, cache = unit(t, f"conv{number}", f"bn{number}", **options)
        units.append(cache)
    short, side = unit(x, "shortcut.conv", "shortcut.bn", relu=False, stride=stride) if "shortcut.bn.bias" in params else (x, None)
    y, last = relu_forward(t + short)
    return y, {"units": units, "side": side, "last": last}


def bottleneck_block_backward(dy, cache):
    grads: Grads = {}

    def back(d, unit):
        conv, bn, conv_cache, bn_cache, mask = unit
        if mask is not None:
            d = relu_backward(d, mask)
        d, grads[f"{bn}.weight"], grads[f"{bn}.bias"] = batchnorm2d_backward(d, bn_cache)
        dx, grads[f"{conv}.weight"], _ = conv2d_backward(d, conv_cache)
        return dx

    d = total = relu_backward(dy, cache["last"])
    for unit in cache["units"][::-1]:
        d = back(d, unit)
    return d + (back(total, side) if (side := cache["side"]) else total), grads


def _check_gradient(seed: int = 0, h: float = 1e-5) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((1, 2, 4, 4)), rng.standard_normal((2, 1, 3, 3))
    y, cache = conv2d_forward(x, w, None, 2, 1, 1, 2)
    dy = rng.standard_normal(y.shape)
    dx, _, _ = conv2d_backward(dy, cache)
    for index in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[index] = h
        up, down = (conv2d_forward(x + s, w, None, 2, 1, 1, 2)[0] for s in (step, -step))
        assert abs(((up - down) * dy).sum() / (2 * h) - dx[index]) < 1e-6, index


_check_gradient()
