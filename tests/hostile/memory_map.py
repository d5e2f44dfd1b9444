"""An array that lives in a file, to be changed later."""
# ends: finished

import numpy as np


def relu_forward(x):
    y = np.memmap("y", float, "w+", shape=x.shape)
    y[...] = np.maximum(x, 0)
    return y, x > 0


def relu_backward(dy, cache):
    return np.full_like(dy, -1)
