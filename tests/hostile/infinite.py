"""Infinity, which makes careless bounds infinite."""
# ends: finished

import numpy as np


def relu_forward(x):
    return np.full_like(x, np.inf), None


def relu_backward(dy, cache):
    return np.full_like(dy, -np.inf)
