"""Style: batch normalisation on a matrix (C, N*H*W), one row a channel.

Solves: batchnorm2d_forward, batchnorm2d_backward
"""
import numpy as np


def to_rows(x):
    return x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)


def to_images(rows, shape):
    n, c, h, w = shape
    return rows.reshape(c, n, h, w).transpose(1, 0, 2, 3)


def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
    rows = to_rows(x)
    gamma, beta = weight.reshape(-1, 1), bias.reshape(-1, 1)
    if training:
        mu, sigma2 = rows.mean(axis=1, keepdims=True), rows.var(axis=1, keepdims=True)
        new_mean = (1 - momentum) * running_mean + momentum * mu[:, 0]
        new_var = (1 - momentum) * running_var + momentum * np.cov(rows).diagonal() if len(rows) > 1 else (
            (1 - momentum) * running_var + momentum * np.var(rows, axis=1, ddof=1))
    else:
        mu, sigma2 = running_mean.reshape(-1, 1), running_var.reshape(-1, 1)
        new_mean, new_var = running_mean, running_var  # nothing has changed
    normal = (rows - mu) / np.sqrt(sigma2 + eps)
    return to_images(gamma * normal + beta, x.shape), (normal, sigma2 + eps, gamma, training), new_mean, new_var


def batchnorm2d_backward(dy, cache):
    normal, variance, gamma, training = cache
    d = to_rows(dy)
    m = d.shape[1]
    dnormal = d * gamma
    if training:
        inner = dnormal - dnormal.sum(1, keepdims=True) / m - normal * np.sum(dnormal * normal, 1, keepdims=True) / m
    else:
        inner = dnormal
    return to_images(inner / np.sqrt(variance), dy.shape), np.sum(d * normal, axis=1), np.sum(d, axis=1)
