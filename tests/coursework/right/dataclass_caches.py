"""Style: dataclasses (frozen, with slots, with fields of types that are only strings) hold the caches.

Solves: batchnorm2d_forward, batchnorm2d_backward, relu_forward, relu_backward, global_avg_pool_forward,
global_avg_pool_backward, linear_forward, linear_backward, basic_block_forward, basic_block_backward,
bottleneck_block_forward, bottleneck_block_backward
"""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum

import numpy as np


class Mode(Enum):
    TRAINING = "training"
    EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class Norm:
    x_hat: np.ndarray
    std: np.ndarray
    gamma: np.ndarray
    mode: Mode

    @property
    def m(self) -> int:
        return self.x_hat.size // self.gamma.size


@dataclass(frozen=True)
class Linear:
    x: np.ndarray
    weight: np.ndarray


@dataclass
class Mask:
    positive: np.ndarray = field(repr=False)

    def apply(self, d: np.ndarray) -> np.ndarray:
        return np.multiply(d, self.positive)


@dataclass
class Unit:
    """conv, batch norm and perhaps ReLU"""
    conv_name: str
    bn_name: str
    conv: object = None
    bn: Norm | None = None
    relu: Mask | None = None


@dataclass
class Block:
    main: list[Unit] = field(default_factory=list)
    shortcut: Unit | None = None
    out: Mask | None = None


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    mode = Mode.TRAINING if training else Mode.EVALUATION
    if mode is Mode.TRAINING:
        mean, var = np.mean(x, (0, 2, 3)), np.var(x, (0, 2, 3))
        m = x.size // len(mean)
        running_mean = running_mean - momentum * (running_mean - mean)
        running_var = running_var - momentum * (running_var - var * (m / (m - 1)))
    else:
        mean, var = running_mean.copy(), running_var.copy()
    std = np.sqrt(var + eps)
    cache = Norm((x - mean[None, :, None, None]) / std[None, :, None, None], std, weight, mode)
    y = np.einsum("nchw,c->nchw", cache.x_hat, weight) + bias[None, :, None, None]
    return y, cache, running_mean, running_var


def batchnorm2d_backward(dy, cache):
    x_hat, std, gamma, mode = (getattr(cache, f.name) for f in dataclasses.fields(cache))
    dweight, dbias = np.einsum("nchw,nchw->c", x_hat, dy), np.einsum("nchw->c", dy)
    dx = dy
    if mode is Mode.TRAINING:
        dx = dy - (dbias[:, None, None] + x_hat * dweight[:, None, None]) / cache.m
    return np.einsum("nchw,c->nchw", dx, gamma / std), dweight, dbias


def relu_forward(x):
    cache = Mask(np.greater(x, 0))
    return cache.apply(x), cache


def relu_backward(dy, cache):
    return cache.apply(dy)


def global_avg_pool_forward(x):
    @dataclass
    class Size:
        h: int
        w: int

    return np.mean(np.mean(x, 3), 2), Size(*x.shape[2:])


def global_avg_pool_backward(dy, cache):
    return np.tile(dy[:, :, None, None], (1, 1, cache.h, cache.w)) / cache.h / cache.w


def linear_forward(x, weight, bias):
    return (weight @ x.T).T + bias, Linear(x, weight)


def linear_backward(dy, cache):
    dx = np.matmul(dy, cache.weight)
    dweight = np.matmul(cache.x.T, dy).T
    return dx, dweight, np.ones(len(dy)) @ dy


def unit_forward(x, params, unit, training, relu, **options):
    y, unit.conv = conv2d_forward(x, params[f"{unit.conv_name}.weight"], **options)
    y, unit.bn, *_ = batchnorm2d_forward(
        y,
        weight=params[f"{unit.bn_name}.weight"],
        bias=params[f"{unit.bn_name}.bias"],
        running_mean=params[f"{unit.bn_name}.running_mean"],
        running_var=params[f"{unit.bn_name}.running_var"],
        training=training,
    )
    if relu:
        y, unit.relu = relu_forward(y)
    return y


def unit_backward(d, unit, grads):
    if unit.relu is not None:
        d = relu_backward(d, unit.relu)
    d, grads[f"{unit.bn_name}.weight"], grads[f"{unit.bn_name}.bias"] = batchnorm2d_backward(d, unit.bn)
    d, grads[f"{unit.conv_name}.weight"], _ = conv2d_backward(d, unit.conv)
    return d


def block(x, params, stride, training, strides, paddings):
    cache = Block()
    y = x
    last = len(strides)
    for k, (s, p) in enumerate(zip(strides, paddings), 1):
        cache.main.append(Unit(f"conv{k}", f"bn{k}"))
        y = unit_forward(y, params, cache.main[-1], training, k < last, stride=s, padding=p)
    side = x
    if "shortcut.bn.weight" in params:
        cache.shortcut = Unit("shortcut.conv", "shortcut.bn")
        side = unit_forward(x, params, cache.shortcut, training, False, stride=stride)
    y, cache.out = relu_forward(y + side)
    return y, cache


def basic_block_forward(x, params, stride=1, training=True):
    return block(x, params, stride, training, (stride, 1), (1, 1))


def bottleneck_block_forward(x, params, stride=1, training=True):
    return block(x, params, stride, training, (1, stride, 1), (0, 1, 0))


def basic_block_backward(dy, cache):
    grads = {}
    d = side = relu_backward(dy, cache.out)
    for unit in reversed(cache.main):
        d = unit_backward(d, unit, grads)
    if cache.shortcut is not None:
        side = unit_backward(side, cache.shortcut, grads)
    return d + side, grads


def bottleneck_block_backward(dy, cache):
    return basic_block_backward(dy, cache)
