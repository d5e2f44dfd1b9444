"""Functions to be called at the end, which never end."""
# ends: finished

import atexit
import time

import numpy as np


atexit.register(time.sleep, 1e6)


def relu_forward(x):
    return np.full_like(x, -1), None
