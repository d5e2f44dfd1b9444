"""Style: the variance as E[x^2] - E[x]^2, the gradient through the two moments by the chain rule.

Solves: batchnorm2d_forward, batchnorm2d_backward
"""
import numpy as np


def b(v):
    return v[np.newaxis, :, np.newaxis, np.newaxis]


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    n = x.shape[0] * x.shape[2] * x.shape[3]
    if training:
        first = np.sum(x, axis=(0, 2, 3), dtype=np.float64) / n
        second = np.sum(np.square(x, dtype=np.float64), axis=(0, 2, 3)) / n
        mean, var = first, second - first ** 2
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * n / (n - 1) * var
    else:
        mean, var = running_mean, running_var
    y = b(weight) * (x - b(mean)) / np.sqrt(b(var) + eps) + b(bias)
    return y, (x, weight, mean, var, eps, training), running_mean, running_var


def batchnorm2d_backward(dy, cache):
    x, weight, mean, var, eps, training = cache
    n = x.shape[0] * x.shape[2] * x.shape[3]
    s = (0, 2, 3)
    r = 1 / np.sqrt(var + eps)
    dweight = np.sum(dy * (x - b(mean)), axis=s) * r
    dbias = np.sum(dy, axis=s)
    dx = dy * b(weight * r)
    if training:
        # y = w (x - m1) (m2 - m1^2 + eps)^(-1/2) + b
        dvar = -0.5 * weight * r ** 3 * np.sum(dy * (x - b(mean)), axis=s)
        dm2 = dvar
        dm1 = -weight * r * dbias - 2 * mean * dvar
        dx = dx + b(dm1) / n + 2 * x * b(dm2) / n
    return dx, dweight, dbias
