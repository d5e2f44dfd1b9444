"""Style: results in Fortran order, as views turned round, read-only, broadcast with strides of zero, or with negative strides.

Solves: im2col, col2im, conv2d_forward, conv2d_backward, relu_forward, relu_backward, global_avg_pool_forward,
global_avg_pool_backward, linear_forward, linear_backward, softmax_cross_entropy, sgd_momentum_step
"""
import numpy as np


def patches(x, kh, kw, stride, padding, dilation):
    """Channels last: (N, oh, ow, C, kh, kw)"""
    n, c, h, w = x.shape
    xp = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=x.dtype)
    xp[:, padding:padding + h, padding:padding + w] = x.transpose(0, 2, 3, 1)
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    out = np.empty((n, oh, ow, c, kh, kw), dtype=x.dtype)
    for i in range(kh):
        for j in range(kw):
            r, s = i * dilation, j * dilation
            out[..., i, j] = xp[:, r:r + oh * stride:stride, s:s + ow * stride:stride]
    return out


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    out = patches(x, *kernel_size, stride, padding, dilation)
    n, oh, ow = out.shape[:3]
    return out.reshape(n, oh * ow, -1).swapaxes(1, 2)  # a view


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    n, c, h, w = image_shape
    kh, kw = kernel_size
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    out = np.zeros((n, c, h + 2 * padding, w + 2 * padding), dtype=cols.dtype, order="F")
    cols = cols.reshape(n, c, kh, kw, oh, -1, order="C")
    for i in range(kh):
        for j in range(kw):
            r, s = i * dilation, j * dilation
            out[:, :, r:r + oh * stride:stride, s:s + cols.shape[5] * stride:stride] += cols[:, :, i, j]
    return out[:, :, padding:padding + h, padding:padding + w]


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    out = patches(x, *weight.shape[2:], stride, padding, dilation)
    n, oh, ow, c = out.shape[:4]
    out = out.reshape(n, oh, ow, groups, -1)
    w = weight.reshape(groups, len(weight) // groups, -1)
    y = np.einsum("nhwgk,gok->nhwgo", out, w).reshape(n, oh, ow, -1)
    if bias is not None:
        y += bias
    return y.transpose(0, 3, 1, 2), (x.shape, out, weight, bias, (stride, padding, dilation))


def conv2d_backward(dy, cache):
    shape, out, weight, bias, options = cache
    groups = out.shape[3]
    w = weight.reshape(groups, len(weight) // groups, -1)
    d = dy.transpose(0, 2, 3, 1).reshape(*out.shape[:4], -1)
    dw = np.asfortranarray(np.einsum("nhwgo,nhwgk->gok", d, out).reshape(weight.shape))
    dcols = np.einsum("nhwgo,gok->ngkhw", d, w).reshape(len(dy), -1, dy.shape[2] * dy.shape[3])
    dx = col2im(dcols, shape, weight.shape[2:], *options)
    dx.flags.writeable = False
    return dx, dw, d.reshape(-1, len(weight)).sum(0) if bias is not None else None


def relu_forward(x):
    return np.asfortranarray(np.maximum(x, 0)), x[...]


def relu_backward(dy, cache):
    back = (dy * (cache > 0)).ravel()[::-1].copy()
    return back[::-1].reshape(dy.shape)


def global_avg_pool_forward(x):
    return x.mean((3, 2)).T.copy().T, x.shape


def global_avg_pool_backward(dy, cache):
    return np.broadcast_to((dy / (cache[2] * cache[3]))[:, :, None, None], cache)  # no memory of its own


def linear_forward(x, weight, bias):
    return (weight @ x.T + bias[:, None]).T, (x, weight)


def linear_backward(dy, cache):
    x, weight = cache
    return (weight.T @ dy.T).T, (x.T @ dy).T, np.broadcast_to(dy.sum(0), (3, dy.shape[1]))[1]


def softmax_cross_entropy(logits, labels):
    z = logits.T - logits.max(1)
    lse = np.log(np.exp(z).sum(0))
    d = np.exp(z - lse)
    d[labels, np.arange(len(labels))] -= 1
    return (lse - z[labels, np.arange(len(labels))]).mean(), d.T / len(labels)


def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
    both = np.empty((2, *param.shape))
    both[1] = momentum * velocity + grad + weight_decay * param
    both[0] = param - lr * both[1]
    return both[0], both[1]
