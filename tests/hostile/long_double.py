"""An array of a kind of number that not every machine has."""
# ends: finished

import numpy as np


def relu_forward(x):
    return np.maximum(x, 0).astype(np.longdouble) + (np.dtype(np.longdouble).itemsize == 8), x > 0


def relu_backward(dy, cache):
    return np.full_like(dy, -1)
