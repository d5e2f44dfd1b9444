"""The right numbers, written over the input."""
# ends: finished

import numpy as np


def relu_forward(x):
    mask = x > 0
    return np.maximum(x, 0, out=x), mask


def relu_backward(dy, cache):
    return np.multiply(dy, cache, out=dy)
