"""Style: cross entropy with one-hot matrices and logaddexp.

Solves: softmax_cross_entropy, linear_forward, linear_backward
"""
import numpy as np


def logsumexp(z):
    return np.logaddexp.reduce(z, axis=1, keepdims=True)


def softmax_cross_entropy(logits, labels):
    n, k = logits.shape
    target = np.zeros((n, k))
    target[np.arange(n), labels] = 1.0
    log_p = logits - logsumexp(logits)
    return -np.sum(target * log_p) / n, (np.exp(log_p) - target) / n


def with_ones(x):
    return np.hstack([x, np.ones((x.shape[0], 1))])


def linear_forward(x, weight, bias):
    augmented = np.column_stack([weight, bias])
    return with_ones(x) @ augmented.T, (with_ones(x), augmented)


def linear_backward(dy, cache):
    x1, augmented = cache
    both = dy.T @ x1
    return dy @ augmented[:, :-1], both[:, :-1], both[:, -1]
