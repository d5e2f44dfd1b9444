"""Calls C directly: a crash."""
# ends: killed, finished

import numpy as np


def relu_forward(x):
    import ctypes

    ctypes.string_at(0)
