"""Strides that lead out of the array."""
# ends: killed, finished

from numpy.lib.stride_tricks import as_strided

import numpy as np


def relu_forward(x):
    return as_strided(x, (1 << 20,), (1 << 30,)), None
