#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""Style: old habits: a shebang, classes of object, percent signs, numpy under another name, tests under a main guard that
must not run when the file is read.

Solves: batchnorm2d_forward, batchnorm2d_backward, max_pool2d_forward, max_pool2d_backward, softmax_cross_entropy
"""
from __future__ import division, print_function

import math
import sys

import numpy as N

__author__ = u"a student"
__all__ = ["batchnorm2d_forward", "batchnorm2d_backward"]


class Cache(object):
    def __init__(self, **kw):
        super(Cache, self).__init__()
        self.__dict__.update(kw)

    def __repr__(self):
        return "Cache(%s)" % ", ".join(sorted(self.__dict__))


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    n, c, h, w = x.shape
    flat = x.swapaxes(0, 1).reshape(c, n * h * w).T  # one row a pixel
    if training:
        mu = flat.mean(axis=0)
        var = ((flat - mu) ** 2).mean(axis=0)
        running_mean = running_mean * (1 - momentum) + momentum * mu
        running_var = running_var * (1 - momentum) + momentum * var * len(flat) / (len(flat) - 1)
    else:
        mu, var = running_mean, running_var
    normal = (flat - mu) / N.sqrt(var + eps)
    y = (normal * weight + bias).T.reshape(c, n, h, w).swapaxes(0, 1)
    cache = Cache(normal=normal, weight=weight, std=N.sqrt(var + eps), training=training)
    return y, cache, running_mean * 1.0, running_var * 1.0


def batchnorm2d_backward(dy, cache):
    n, c, h, w = dy.shape
    d = dy.swapaxes(0, 1).reshape(c, n * h * w).T
    dweight = (d * cache.normal).sum(axis=0)
    dbias = d.sum(axis=0)
    if cache.training:
        m = len(d)
        d = d - 1.0 / m * dbias - cache.normal / m * dweight
    d = d * cache.weight / cache.std
    return d.T.reshape(c, n, h, w).swapaxes(0, 1), dweight, dbias


def max_pool2d_forward(x, kernel_size, stride, padding=0):
    n, c, h, w = x.shape
    oh = int(math.floor((h + 2 * padding - kernel_size) / stride)) + 1
    ow = int(math.floor((w + 2 * padding - kernel_size) / stride)) + 1
    y = N.zeros((n, c, oh, ow))
    where = N.zeros((n, c, oh, ow, 2), dtype=int)
    for i in xrange(oh):
        for j in xrange(ow):
            r = [max(0, i * stride - padding), min(h, i * stride - padding + kernel_size)]
            s = [max(0, j * stride - padding), min(w, j * stride - padding + kernel_size)]
            window = x[:, :, r[0]:r[1], s[0]:s[1]].reshape(n, c, -1)
            best = window.argmax(axis=2)
            y[:, :, i, j] = window.max(axis=2)
            where[:, :, i, j, 0] = r[0] + best // (s[1] - s[0])
            where[:, :, i, j, 1] = s[0] + best % (s[1] - s[0])
    return y, Cache(where=where, shape=x.shape)


def max_pool2d_backward(dy, cache):
    dx = N.zeros(cache.shape)
    for index in N.ndindex(*dy.shape):
        r, s = cache.where[index]
        dx[index[0], index[1], r, s] += dy[index]
    return dx


def softmax_cross_entropy(logits, labels):
    top = N.amax(logits, axis=1)
    e = N.exp(logits - top.reshape(-1, 1))
    s = N.sum(e, axis=1)
    loss = 0
    d = e / s.reshape(-1, 1)
    for i in xrange(logits.shape[0]):
        loss += math.log(s[i]) + top[i] - logits[i][labels[i]]
        d[i][labels[i]] -= 1
    return loss / logits.shape[0], d / logits.shape[0]


if sys.version_info[0] >= 3:
    xrange = range


def check():
    y, cache = max_pool2d_forward(N.arange(16.0).reshape(1, 1, 4, 4), 2, 2)
    assert y.ravel().tolist() == [5, 7, 13, 15], y
    print("max_pool2d: ok, %r" % cache)


if __name__ == "__main__":
    check()
    raise SystemExit("tests are done")
