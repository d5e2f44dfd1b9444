"""Style: from numpy import *, so that sum, max, abs and any are numpy's; no name np at all.

Solves: im2col, conv2d_forward, conv2d_backward, batchnorm2d_forward, batchnorm2d_backward, relu_forward, relu_backward,
global_avg_pool_forward, global_avg_pool_backward, linear_forward, linear_backward, softmax_cross_entropy,
bottleneck_block_forward, bottleneck_block_backward
"""
from numpy import *
from numpy.lib.stride_tricks import sliding_window_view as _windows


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    x = pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    h, w = dilation * (array(kernel_size) - 1) + 1
    v = _windows(x, (h, w), axis=(2, 3))[:, :, ::stride, ::stride, ::dilation, ::dilation]
    v = moveaxis(v, (4, 5), (2, 3))
    return v.reshape(v.shape[0], prod(v.shape[1:4]), prod(v.shape[4:]))


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n, o = x.shape[0], weight.shape[0]
    ys, cols = [], []
    for part, w in zip(split(x, groups, axis=1), split(weight, groups, axis=0)):
        cols.append(im2col(part, weight.shape[2:], stride, padding, dilation))
        ys.append(matmul(w.reshape(w.shape[0], -1), cols[-1]))
    y = concatenate(ys, axis=1)
    if bias is not None:
        y = y + expand_dims(bias, 1)
    oh = (x.shape[2] + 2 * padding - dilation * (weight.shape[2] - 1) - 1) // stride + 1
    return y.reshape(n, o, oh, -1), (x.shape, cols, weight, bias is not None, stride, padding, dilation)


def conv2d_backward(dy, cache):
    (n, c, h, w), cols, weight, with_bias, stride, padding, dilation = cache
    groups = len(cols)
    kh, kw = weight.shape[2:]
    oh, ow = dy.shape[2:]
    dx = zeros((n, c, h + 2 * padding, w + 2 * padding))
    dws = []
    for g, (part, k, d) in enumerate(zip(cols, split(weight, groups), split(dy, groups, axis=1))):
        d = d.reshape(n, d.shape[1], -1)
        dws.append(sum(matmul(d, swapaxes(part, 1, 2)), axis=0).reshape(k.shape))
        dcols = matmul(k.reshape(k.shape[0], -1).T, d).reshape(n, -1, kh, kw, oh, ow)
        own = dx[:, g * (c // groups):(g + 1) * (c // groups)]
        for i in range(kh):
            for j in range(kw):
                r, s = i * dilation, j * dilation
                own[:, :, r:r + oh * stride:stride, s:s + ow * stride:stride] += dcols[:, :, i, j]
    dx = dx[:, :, padding:padding + h, padding:padding + w]
    return dx, concatenate(dws), sum(dy, axis=(0, 2, 3)) if with_bias else None


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    m, v = (mean(x, (0, 2, 3)), var(x, (0, 2, 3))) if training else (running_mean, running_var)
    new = copy(running_mean), copy(running_var)
    if training:
        k = x.size / m.size
        new = (1 - momentum) * running_mean + momentum * m, (1 - momentum) * running_var + momentum * v * k / (k - 1)
    h = (x - m.reshape(-1, 1, 1)) / sqrt(v + eps).reshape(-1, 1, 1)
    return h * weight.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1), (h, sqrt(v + eps), weight, training), *new


def batchnorm2d_backward(dy, cache):
    h, s, weight, training = cache
    dw, db = sum(dy * h, axis=(0, 2, 3)), sum(dy, axis=(0, 2, 3))
    d = dy
    if training:
        d = dy - mean(dy, (0, 2, 3), keepdims=True) - h * mean(dy * h, (0, 2, 3), keepdims=True)
    return d * (weight / s).reshape(-1, 1, 1), dw, db


def relu_forward(x):
    return maximum(x, 0), x


def relu_backward(dy, cache):
    return where(cache > 0, dy, zeros_like(dy))


def global_avg_pool_forward(x):
    return mean(x, axis=(2, 3)), ones_like(x) / x[0, 0].size


def global_avg_pool_backward(dy, cache):
    return cache * dy[..., newaxis, newaxis]


def linear_forward(x, weight, bias):
    return dot(x, transpose(weight)) + bias, (x, weight)


def linear_backward(dy, cache):
    x, weight = cache
    return dot(dy, weight), outer(dy[0], x[0]) + einsum("nk,nd->kd", dy[1:], x[1:]), sum(dy, axis=0)


def softmax_cross_entropy(logits, labels):
    z = logits - amax(logits, axis=1, keepdims=True)
    lse = log(sum(exp(z), axis=1, keepdims=True))
    hot = equal(labels.reshape(-1, 1), arange(logits.shape[1])) * 1.0
    return vdot(hot, lse - z) / len(z), (exp(z - lse) - hot) / len(z)


def bottleneck_block_forward(x, params, stride=1, training=True):
    def norm(t, name):
        t, cache, _, _ = batchnorm2d_forward(
            t, params[name + ".weight"], params[name + ".bias"], params[name + ".running_mean"],
            params[name + ".running_var"], training)
        return t, cache

    t, c1 = conv2d_forward(x, params["conv1.weight"])
    t, b1 = norm(t, "bn1")
    t, r1 = relu_forward(t)
    t, c2 = conv2d_forward(t, params["conv2.weight"], None, stride, 1)
    t, b2 = norm(t, "bn2")
    t, r2 = relu_forward(t)
    t, c3 = conv2d_forward(t, params["conv3.weight"])
    t, b3 = norm(t, "bn3")
    s, cs, bs = x, None, None
    if "shortcut.conv.weight" in params.keys():
        s, cs = conv2d_forward(x, params["shortcut.conv.weight"], None, stride, 0)
        s, bs = norm(s, "shortcut.bn")
    y, r3 = relu_forward(add(t, s))
    return y, (c1, b1, r1, c2, b2, r2, c3, b3, cs, bs, r3)


def bottleneck_block_backward(dy, cache):
    c1, b1, r1, c2, b2, r2, c3, b3, cs, bs, r3 = cache
    grads = {}
    dy = relu_backward(dy, r3)
    dx = dy
    if cs is not None:
        dx, grads["shortcut.bn.weight"], grads["shortcut.bn.bias"] = batchnorm2d_backward(dy, bs)
        dx, grads["shortcut.conv.weight"], _ = conv2d_backward(dx, cs)
    d, grads["bn3.weight"], grads["bn3.bias"] = batchnorm2d_backward(dy, b3)
    d, grads["conv3.weight"], _ = conv2d_backward(d, c3)
    d, grads["bn2.weight"], grads["bn2.bias"] = batchnorm2d_backward(relu_backward(d, r2), b2)
    d, grads["conv2.weight"], _ = conv2d_backward(d, c2)
    d, grads["bn1.weight"], grads["bn1.bias"] = batchnorm2d_backward(relu_backward(d, r1), b1)
    d, grads["conv1.weight"], _ = conv2d_backward(d, c1)
    return dx + d, grads
