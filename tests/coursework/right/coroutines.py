"""Style: every layer is a generator that yields y, is sent dy, and yields the gradients; the cache is the generator, still
at rest between the two.

Solves: conv2d_forward, conv2d_backward, batchnorm2d_backward, batchnorm2d_forward, relu_forward, relu_backward,
max_pool2d_forward, max_pool2d_backward, linear_forward, linear_backward, basic_block_forward, basic_block_backward
"""
import numpy as np


def forward_of(layer):
    def forward(*args, **kwargs):
        cache = layer(*args, **kwargs)
        first = next(cache)
        return (first[0], cache, *first[1:]) if isinstance(first, tuple) else (first, cache)
    return forward


def resume(dy, cache):
    return cache.send(dy)


@forward_of
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    def shifts():
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                r, s = i * dilation, j * dilation
                yield i, j, np.s_[:, :, r:r + stride * oh:stride, s:s + stride * ow:stride]

    n, o = x.shape[0], weight.shape[0]
    H, W = (d + 2 * padding for d in x.shape[2:])
    oh, ow = ((d - dilation * (k - 1) - 1) // stride + 1 for d, k in zip((H, W), weight.shape[2:]))
    big = np.zeros((*x.shape[:2], H, W))
    big[:, :, padding:H - padding, padding:W - padding] = x
    # groups: a full weight with zeros off the diagonal blocks
    full = np.zeros((o, x.shape[1], *weight.shape[2:]))
    per_o, per_c = o // groups, weight.shape[1]
    for g in range(groups):
        full[g * per_o:(g + 1) * per_o, g * per_c:(g + 1) * per_c] = weight[g * per_o:(g + 1) * per_o]
    y = sum(np.einsum("nchw,oc->nohw", big[at], full[:, :, i, j]) for i, j, at in shifts())
    dy = yield (y if bias is None else y + bias.reshape(o, 1, 1))

    dbig, dfull = np.zeros_like(big), np.zeros_like(full)
    for i, j, at in shifts():
        dbig[at] += np.einsum("nohw,oc->nchw", dy, full[:, :, i, j])
        dfull[:, :, i, j] = np.einsum("nohw,nchw->oc", dy, big[at])
    dweight = np.concatenate(
        [dfull[g * per_o:(g + 1) * per_o, g * per_c:(g + 1) * per_c] for g in range(groups)])
    dbias = None if bias is None else dy.sum((0, 2, 3))
    yield dbig[:, :, padding:H - padding, padding:W - padding], dweight, dbias


@forward_of
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    g, b = weight[:, None, None], bias[:, None, None]
    m = len(x) * x[0, 0].size
    if training:
        mu = x.mean((0, 2, 3))
        var = (x * x).mean((0, 2, 3)) - mu * mu
        after = running_mean + momentum * (mu - running_mean), running_var + momentum * (var * m / (m - 1) - running_var)
    else:
        mu, var = running_mean, running_var
        after = running_mean + 0, running_var + 0
    r = 1 / np.sqrt(var + eps)[:, None, None]
    h = (x - mu[:, None, None]) * r
    dy = yield (h * g + b, *after)
    dw, db = (dy * h).sum((0, 2, 3)), dy.sum((0, 2, 3))
    corrected = dy - (db[:, None, None] + h * dw[:, None, None]) / m if training else dy
    yield g * r * corrected, dw, db


@forward_of
def relu_forward(x):
    dy = yield np.fmax(x, 0)
    yield np.where(x > 0, dy, 0)


@forward_of
def max_pool2d_forward(x, kernel_size, stride, padding=0):
    def windows():
        for p in range((H - kernel_size) // stride + 1):
            for q in range((W - kernel_size) // stride + 1):
                yield p, q, np.s_[..., p * stride:p * stride + kernel_size, q * stride:q * stride + kernel_size]

    H, W = (d + 2 * padding for d in x.shape[2:])
    big = np.full((*x.shape[:2], H, W), -np.inf)
    big[..., padding:H - padding, padding:W - padding] = x
    y = np.empty((*x.shape[:2], (H - kernel_size) // stride + 1, (W - kernel_size) // stride + 1))
    for p, q, at in windows():
        y[..., p, q] = big[at].max((-1, -2))
    dy = yield y
    dbig = np.zeros(big.shape)
    for p, q, at in windows():
        winners = big[at] == y[..., p, q, None, None]
        dbig[at] += winners / winners.sum((-1, -2), keepdims=True) * dy[..., p, q, None, None]  # equals share
    yield dbig[..., padding:H - padding, padding:W - padding]


@forward_of
def linear_forward(x, weight, bias):
    dy = yield x @ weight.T + bias
    yield dy @ weight, dy.T @ x, dy.sum(0)


def four(params, name):
    for key in ("weight", "bias", "running_mean", "running_var"):
        yield params[name + "." + key]


@forward_of
def basic_block_forward(x, params, stride=1, training=True):
    a, conv1 = conv2d_forward(x, params["conv1.weight"], None, stride, 1)
    a, bn1, _, _ = batchnorm2d_forward(a, *four(params, "bn1"), training)
    a, relu1 = relu_forward(a)
    a, conv2 = conv2d_forward(a, params["conv2.weight"], None, 1, 1)
    a, bn2, _, _ = batchnorm2d_forward(a, *four(params, "bn2"), training)
    b, projected = x, "shortcut.conv.weight" in params
    if projected:
        b, conv3 = conv2d_forward(x, params["shortcut.conv.weight"], None, stride)
        b, bn3, _, _ = batchnorm2d_forward(b, *four(params, "shortcut.bn"), training)
    y, relu2 = relu_forward(a + b)

    d = relu_backward((yield y), relu2)
    g = {}
    dx = d
    if projected:
        dx, g["shortcut.bn.weight"], g["shortcut.bn.bias"] = batchnorm2d_backward(d, bn3)
        dx, g["shortcut.conv.weight"], _ = conv2d_backward(dx, conv3)
    d, g["bn2.weight"], g["bn2.bias"] = batchnorm2d_backward(d, bn2)
    d, g["conv2.weight"], _ = conv2d_backward(d, conv2)
    d, g["bn1.weight"], g["bn1.bias"] = batchnorm2d_backward(relu_backward(d, relu1), bn1)
    d, g["conv1.weight"], _ = conv2d_backward(d, conv1)
    yield dx + d, g


conv2d_backward = batchnorm2d_backward = relu_backward = max_pool2d_backward = resume
linear_backward = basic_block_backward = resume
