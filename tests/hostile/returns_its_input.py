"""The input itself in place of the answer."""
# ends: finished

import numpy as np


def relu_forward(x):
    return x, None


def relu_backward(dy, cache):
    return dy
