"""Recursion without an end."""
# ends: finished, killed, memory

import numpy as np


def relu_forward(x):
    return relu_forward(x)
