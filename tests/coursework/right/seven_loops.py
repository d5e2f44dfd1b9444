"""Style: nested Python loops over every index, exactly as in the formula; lists filled and turned into arrays.

Solves: im2col, col2im, conv2d_forward, conv2d_backward, batchnorm2d_forward, batchnorm2d_backward, relu_forward,
relu_backward, max_pool2d_forward, max_pool2d_backward, global_avg_pool_forward, global_avg_pool_backward,
linear_forward, linear_backward, softmax_cross_entropy
"""
import math

import numpy as np


def size(n, k, s, p, d):
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    N, C, H, W = x.shape
    kh, kw = kernel_size
    oh = size(H, kh, stride, padding, dilation)
    ow = size(W, kw, stride, padding, dilation)
    cols = np.zeros((N, C * kh * kw, oh * ow))
    for n in range(N):
        for c in range(C):
            for i in range(kh):
                for j in range(kw):
                    for p in range(oh):
                        for q in range(ow):
                            r = p * stride + i * dilation - padding
                            s = q * stride + j * dilation - padding
                            if r >= 0 and r < H and s >= 0 and s < W:
                                cols[n, (c * kh + i) * kw + j, p * ow + q] = x[n, c, r, s]
    return cols


def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    N, C, H, W = image_shape
    kh, kw = kernel_size
    oh = size(H, kh, stride, padding, dilation)
    ow = size(W, kw, stride, padding, dilation)
    x = np.zeros(image_shape)
    for n in range(N):
        for c in range(C):
            for i in range(kh):
                for j in range(kw):
                    for p in range(oh):
                        for q in range(ow):
                            r = p * stride + i * dilation - padding
                            s = q * stride + j * dilation - padding
                            if r >= 0 and r < H and s >= 0 and s < W:
                                x[n, c, r, s] += cols[n, (c * kh + i) * kw + j, p * ow + q]
    return x


def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    N, C, H, W = x.shape
    O, Cg, kh, kw = weight.shape
    oh = size(H, kh, stride, padding, dilation)
    ow = size(W, kw, stride, padding, dilation)
    y = np.zeros((N, O, oh, ow))
    for n in range(N):
        for o in range(O):
            g = o // (O // groups)
            for p in range(oh):
                for q in range(ow):
                    total = 0.0
                    for c in range(Cg):
                        for i in range(kh):
                            for j in range(kw):
                                r = p * stride + i * dilation - padding
                                s = q * stride + j * dilation - padding
                                if 0 <= r < H and 0 <= s < W:
                                    total += x[n, g * Cg + c, r, s] * weight[o, c, i, j]
                    if bias is not None:
                        total += bias[o]
                    y[n, o, p, q] = total
    return y, [x, weight, bias, stride, padding, dilation, groups]


def conv2d_backward(dy, cache):
    x, weight, bias, stride, padding, dilation, groups = cache
    N, C, H, W = x.shape
    O, Cg, kh, kw = weight.shape
    _, _, oh, ow = dy.shape
    dx = np.zeros(x.shape)
    dweight = np.zeros(weight.shape)
    dbias = None if bias is None else np.zeros(O)
    for n in range(N):
        for o in range(O):
            g = o // (O // groups)
            for p in range(oh):
                for q in range(ow):
                    d = dy[n, o, p, q]
                    if bias is not None:
                        dbias[o] += d
                    for c in range(Cg):
                        for i in range(kh):
                            for j in range(kw):
                                r = p * stride + i * dilation - padding
                                s = q * stride + j * dilation - padding
                                if 0 <= r < H and 0 <= s < W:
                                    dx[n, g * Cg + c, r, s] += d * weight[o, c, i, j]
                                    dweight[o, c, i, j] += d * x[n, g * Cg + c, r, s]
    return dx, dweight, dbias


def pixels(shape):
    N, C, H, W = shape
    for n in range(N):
        for h in range(H):
            for w in range(W):
                yield n, h, w


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    N, C, H, W = x.shape
    m = N * H * W
    y = np.zeros(x.shape)
    xhat = np.zeros(x.shape)
    root = np.zeros(C)
    new_mean = np.zeros(C)
    new_var = np.zeros(C)
    for c in range(C):
        if training:
            mean = 0.0
            for n, h, w in pixels(x.shape):
                mean += x[n, c, h, w] / m
            var = 0.0
            for n, h, w in pixels(x.shape):
                var += (x[n, c, h, w] - mean) ** 2 / m
            new_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean
            new_var[c] = (1 - momentum) * running_var[c] + momentum * var * m / (m - 1)
        else:
            mean, var = running_mean[c], running_var[c]
            new_mean[c], new_var[c] = mean, var
        root[c] = math.sqrt(var + eps)
        for n, h, w in pixels(x.shape):
            xhat[n, c, h, w] = (x[n, c, h, w] - mean) / root[c]
            y[n, c, h, w] = weight[c] * xhat[n, c, h, w] + bias[c]
    return y, [xhat, root, weight, training], new_mean, new_var


def batchnorm2d_backward(dy, cache):
    xhat, root, weight, training = cache
    N, C, H, W = dy.shape
    m = N * H * W
    dx = np.zeros(dy.shape)
    dweight = np.zeros(C)
    dbias = np.zeros(C)
    for c in range(C):
        for n, h, w in pixels(dy.shape):
            dbias[c] += dy[n, c, h, w]
            dweight[c] += dy[n, c, h, w] * xhat[n, c, h, w]
        for n, h, w in pixels(dy.shape):
            if training:
                d = m * dy[n, c, h, w] - dbias[c] - xhat[n, c, h, w] * dweight[c]
                dx[n, c, h, w] = weight[c] / (m * root[c]) * d
            else:
                dx[n, c, h, w] = weight[c] / root[c] * dy[n, c, h, w]
    return dx, dweight, dbias


def relu_forward(x):
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        if x[index] > 0:
            y[index] = x[index]
    return y, y


def relu_backward(dy, cache):
    dx = np.zeros(dy.shape)
    for index in np.ndindex(*dy.shape):
        if cache[index] > 0:
            dx[index] = dy[index]
    return dx


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    N, C, H, W = x.shape
    oh = size(H, kernel_size, stride, padding, 1)
    ow = size(W, kernel_size, stride, padding, 1)
    y = np.zeros((N, C, oh, ow))
    winners = {}
    for n in range(N):
        for c in range(C):
            for p in range(oh):
                for q in range(ow):
                    best = None
                    for i in range(kernel_size):
                        for j in range(kernel_size):
                            r, s = p * stride + i - padding, q * stride + j - padding
                            if 0 <= r < H and 0 <= s < W:
                                if best is None or x[n, c, r, s] > best:
                                    best = x[n, c, r, s]
                                    winners[n, c, p, q] = (n, c, r, s)
                    y[n, c, p, q] = best
    return y, (winners, x.shape)


def max_pool2d_backward(dy, cache):
    winners, shape = cache
    dx = np.zeros(shape)
    for place, pixel in winners.items():
        dx[pixel] += dy[place]
    return dx


def global_avg_pool_forward(x):
    N, C, H, W = x.shape
    y = [[sum(x[n, c, h, w] for h in range(H) for w in range(W)) / (H * W) for c in range(C)] for n in range(N)]
    return np.array(y), x.shape


def global_avg_pool_backward(dy, cache):
    dx = np.zeros(cache)
    for n, c, h, w in np.ndindex(*cache):
        dx[n, c, h, w] = dy[n, c] / (cache[2] * cache[3])
    return dx


def linear_forward(x, weight, bias):
    N, D = x.shape
    K = len(weight)
    y = np.zeros((N, K))
    for n in range(N):
        for k in range(K):
            y[n, k] = bias[k]
            for d in range(D):
                y[n, k] += x[n, d] * weight[k, d]
    return y, [x, weight]


def linear_backward(dy, cache):
    x, weight = cache
    N, D = x.shape
    K = len(weight)
    dx, dweight, dbias = np.zeros((N, D)), np.zeros((K, D)), np.zeros(K)
    for n in range(N):
        for k in range(K):
            dbias[k] += dy[n, k]
            for d in range(D):
                dx[n, d] += dy[n, k] * weight[k, d]
                dweight[k, d] += dy[n, k] * x[n, d]
    return dx, dweight, dbias


def softmax_cross_entropy(logits, labels):
    N, K = logits.shape
    loss = 0.0
    dlogits = np.zeros((N, K))
    for n in range(N):
        top = max(logits[n, k] for k in range(K))
        total = sum(math.exp(logits[n, k] - top) for k in range(K))
        loss += (top + math.log(total) - logits[n, labels[n]]) / N
        for k in range(K):
            p = math.exp(logits[n, k] - top) / total
            dlogits[n, k] = (p - (1.0 if k == labels[n] else 0.0)) / N
    return loss, dlogits
