"""Style: functions made by lambda, functools.partial and operator; instances with __call__ in place of functions.

Solves: conv2d_forward, conv2d_backward, relu_forward, relu_backward, max_pool2d_forward, max_pool2d_backward,
global_avg_pool_forward, global_avg_pool_backward, linear_forward, linear_backward, basic_block_forward,
basic_block_backward, bottleneck_block_forward, bottleneck_block_backward, sgd_momentum_step
"""
import operator
from functools import partial, reduce

import numpy as np

relu_forward = lambda x: (np.maximum(x, 0.0), np.greater(x, 0.0))
relu_backward = operator.mul
linear_forward = lambda x, weight, bias: (np.inner(x, weight) + bias, (x, weight))
linear_backward = lambda dy, cache: (dy @ cache[1], dy.T @ cache[0], np.add.reduce(dy))
global_avg_pool_forward = lambda x: (np.mean(x, axis=(2, 3)), (1, 1, *x.shape[2:]))
global_avg_pool_backward = lambda dy, cache: np.tile(dy[:, :, None, None] / np.prod(cache), cache)


def _step(param, grad, velocity, lr, momentum, weight_decay):
    velocity = reduce(np.add, (momentum * velocity, grad, weight_decay * param))
    return np.subtract(param, lr * velocity), velocity


sgd_momentum_step = partial(_step, momentum=0.9, weight_decay=0.0)


class Window:
    """Places of a kernel, made for one kind of reduction"""

    def __init__(self, reduction):
        self.reduction = reduction

    def __call__(self, x, kernel_size, stride, padding=0):
        big = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2), constant_values=-np.inf)
        rows = range(0, big.shape[2] - kernel_size + 1, stride)
        columns = range(0, big.shape[3] - kernel_size + 1, stride)
        y = [[self.reduction(big[:, :, r:r + kernel_size, c:c + kernel_size], axis=(2, 3)) for c in columns] for r in rows]
        y = np.moveaxis(np.array(y), (0, 1), (2, 3))
        return y, (big, y, kernel_size, list(rows), list(columns), padding)


max_pool2d_forward = Window(np.max)


def max_pool2d_backward(dy, cache):
    big, y, k, rows, columns, p = cache
    dx = np.zeros_like(big)
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            at = (..., slice(r, r + k), slice(c, c + k))
            dx[at] += np.where(big[at] == y[:, :, i, j, None, None], dy[:, :, i, j, None, None], 0)
    return dx[..., p:dx.shape[2] - p, p:dx.shape[3] - p]


def _conv(kind, *args, stride=1, padding=0, dilation=1, groups=1, bias=None):
    """One loop for all three: kind is what is made of dy or x at each place of the kernel"""
    x, weight, dy = args
    o, cg, kh, kw = weight.shape
    H, W = x.shape[2] + 2 * padding, x.shape[3] + 2 * padding
    oh, ow = (H - dilation * (kh - 1) - 1) // stride + 1, (W - dilation * (kw - 1) - 1) // stride + 1
    split = lambda t, axis: np.stack(np.split(t, groups, axis))
    big = split(np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2)), 1)  # g n c H W
    w = split(weight, 0)  # g o c i j
    out = {"y": 0, "dx": np.zeros_like(big), "dw": np.zeros_like(w)}
    for i in range(kh):
        for j in range(kw):
            at = np.s_[..., i * dilation:i * dilation + oh * stride:stride, j * dilation:j * dilation + ow * stride:stride]
            if kind == "y":
                out["y"] = out["y"] + np.einsum("gnchw,goc->gnohw", big[at], w[..., i, j])
            else:
                d = split(dy, 1)
                out["dx"][at] += np.einsum("gnohw,goc->gnchw", d, w[..., i, j])
                out["dw"][..., i, j] += np.einsum("gnohw,gnchw->goc", d, big[at])
    join = lambda t: np.concatenate(list(t), axis=1)
    if kind == "y":
        return join(out["y"])
    crop = (..., slice(padding, H - padding), slice(padding, W - padding))
    return join(out["dx"])[crop], out["dw"].reshape(weight.shape)


def conv2d_forward(x, weight, bias=None, **options):
    y = _conv("y", x, weight, None, **options)
    backward = partial(_conv, "both", x, weight, **options)
    return (y if bias is None else y + bias.reshape(-1, 1, 1)), (backward, bias is not None)


conv2d_backward = lambda dy, cache: (*cache[0](dy), dy.sum(axis=(0, 2, 3)) if cache[1] else None)


class Composed:
    """f after g after ..., each returning (y, cache); remembers how to go back"""

    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, x):
        caches = []
        for forward, backward in self.steps:
            x, cache = forward(x)
            caches.append(partial(backward, cache=cache))
        return x, lambda d, grads: reduce(lambda d, back: back(d, grads), reversed(caches), d)


def _conv_step(name, params, **options):
    def back(d, grads, cache):
        dx, grads[name + ".weight"], _ = conv2d_backward(d, cache)
        return dx
    return partial(conv2d_forward, weight=params[name + ".weight"], **options), back


def _bn_step(name, params, training):
    def back(d, grads, cache):
        dx, grads[name + ".weight"], grads[name + ".bias"] = batchnorm2d_backward(d, cache)
        return dx
    get = operator.itemgetter(*(f"{name}.{k}" for k in ("weight", "bias", "running_mean", "running_var")))
    return (lambda x: batchnorm2d_forward(x, *get(params), training)[:2]), back


_relu_step = (relu_forward, lambda d, grads, cache: relu_backward(d, cache))


def _block(x, params, stride, training, bottleneck):
    conv, bn = partial(_conv_step, params=params), partial(_bn_step, params=params, training=training)
    if bottleneck:
        main = [conv("conv1"), bn("bn1"), _relu_step, conv("conv2", stride=stride, padding=1), bn("bn2"), _relu_step,
                conv("conv3"), bn("bn3")]
    else:
        main = [conv("conv1", stride=stride, padding=1), bn("bn1"), _relu_step, conv("conv2", padding=1), bn("bn2")]
    side = [conv("shortcut.conv", stride=stride), bn("shortcut.bn")] if "shortcut.conv.weight" in params else []
    (a, back_a), (b, back_b) = Composed(*main)(x), Composed(*side)(x)
    y, mask = relu_forward(a + b)
    return y, (mask, back_a, back_b)


def _block_backward(dy, cache):
    grads = {}
    mask, *backs = cache
    d = relu_backward(dy, mask)
    return sum(back(d, grads) for back in backs), grads


basic_block_forward = lambda x, params, stride=1, training=True: _block(x, params, stride, training, False)
bottleneck_block_forward = lambda x, params, stride=1, training=True: _block(x, params, stride, training, True)
basic_block_backward = bottleneck_block_backward = _block_backward
