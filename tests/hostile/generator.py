"""A generator in place of a tuple."""
# ends: finished

import numpy as np


def relu_forward(x):
    yield np.maximum(x, 0)
    yield x > 0


def relu_backward(dy, cache):
    return dy * cache
