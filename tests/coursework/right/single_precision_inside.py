"""Style: everything is computed in float32, whatever comes in; results are given back in the dtype that came in.

Solves: im2col, conv2d_forward, conv2d_backward, batchnorm2d_forward, batchnorm2d_backward, linear_forward,
linear_backward, softmax_cross_entropy
"""
import numpy as np

f32 = np.float32


def down(*arrays):
    return [a if a is None else a.astype(f32) for a in arrays]


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    dtype = x.dtype
    (x,) = down(x)
    n, c, h, w = x.shape
    kh, kw = kernel_size
    rows = np.arange(0, h + 2 * padding - dilation * (kh - 1), stride)
    columns = np.arange(0, w + 2 * padding - dilation * (kw - 1), stride)
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    r = (np.arange(kh) * dilation)[:, None, None, None] + rows[None, None, :, None]
    s = (np.arange(kw) * dilation)[None, :, None, None] + columns[None, None, None, :]
    return x[:, :, r, s].reshape(n, c * kh * kw, len(rows) * len(columns)).astype(dtype)


def fold(cols, shape, kernel_size, stride, padding, dilation):
    n, c, h, w = shape
    kh, kw = kernel_size
    x = np.zeros((n, c, h + 2 * padding, w + 2 * padding), f32)
    oh = (h + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    cols = cols.reshape(n, c, kh, kw, oh, -1)
    for p in range(oh):
        for q in range(cols.shape[-1]):
            r, s = p * stride, q * stride
            x[:, :, r:r + dilation * kh:dilation, s:s + dilation * kw:dilation][:, :, :kh, :kw] += cols[..., p, q]
    return x[:, :, padding:padding + h, padding:padding + w]


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    dtype = x.dtype
    x, weight, bias = down(x, weight, bias)
    n, o = len(x), len(weight)
    kh, kw = weight.shape[2:]
    cols = im2col(x, (kh, kw), stride, padding, dilation)
    cols = cols.reshape(n, groups, -1, cols.shape[-1])
    y = np.matmul(weight.reshape(groups, o // groups, -1), cols)
    oh = (x.shape[2] + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    y = y.reshape(n, o, oh, -1)
    if bias is not None:
        y += bias.reshape(-1, 1, 1)
    return y.astype(dtype), (x.shape, cols, weight, bias, stride, padding, dilation, groups)


def conv2d_backward(dy, cache):
    shape, cols, weight, bias, stride, padding, dilation, groups = cache
    dtype = dy.dtype
    (dy,) = down(dy)
    n, o = dy.shape[:2]
    d = dy.reshape(n, groups, o // groups, -1)
    dweight = np.matmul(d, cols.swapaxes(-1, -2)).sum(0).reshape(weight.shape)
    dcols = np.matmul(weight.reshape(groups, o // groups, -1).swapaxes(-1, -2), d)
    dx = fold(dcols, shape, weight.shape[2:], stride, padding, dilation)
    dbias = None if bias is None else dy.sum((0, 2, 3)).astype(dtype)
    return dx.astype(dtype), dweight.astype(dtype), dbias


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    dtype = x.dtype
    x, weight, bias, running_mean, running_var = down(x, weight, bias, running_mean, running_var)
    mean, var = running_mean, running_var
    if training:
        mean = x.mean((0, 2, 3))
        var = np.square(x - mean[:, None, None]).mean((0, 2, 3))
        m = f32(x.size / len(mean))
        running_mean = running_mean + f32(momentum) * (mean - running_mean)
        running_var = running_var + f32(momentum) * (var * m / (m - 1) - running_var)
    r = f32(1) / np.sqrt(var + f32(eps))
    h = (x - mean[:, None, None]) * r[:, None, None]
    y = h * weight[:, None, None] + bias[:, None, None]
    return y.astype(dtype), (h, r, weight, training), running_mean.astype(dtype), running_var.astype(dtype)


def batchnorm2d_backward(dy, cache):
    h, r, weight, training = cache
    dtype = dy.dtype
    (dy,) = down(dy)
    db, dw = dy.sum((0, 2, 3)), (dy * h).sum((0, 2, 3))
    d = dy
    if training:
        d = dy - dy.mean((0, 2, 3), keepdims=True) - h * (dy * h).mean((0, 2, 3), keepdims=True)
    return (d * (weight * r)[:, None, None]).astype(dtype), dw.astype(dtype), db.astype(dtype)


def linear_forward(x, weight, bias):
    a, w, b = down(x, weight, bias)
    return (a @ w.T + b).astype(x.dtype), (a, w)


def linear_backward(dy, cache):
    a, w = cache
    (d,) = down(dy)
    return tuple(g.astype(dy.dtype) for g in (d @ w, d.T @ a, d.sum(0)))


def softmax_cross_entropy(logits, labels):
    (z,) = down(logits)
    z = z - z.max(1)[:, None]
    lse = np.log(np.exp(z).sum(1))
    hot = (labels[:, None] == np.arange(z.shape[1])).astype(f32)
    loss = np.sum((lse[:, None] - z) * hot) / f32(len(z))
    return float(loss), ((np.exp(z - lse[:, None]) - hot) / f32(len(z))).astype(logits.dtype)
