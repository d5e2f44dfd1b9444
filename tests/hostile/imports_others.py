"""Imports libraries that were not meant."""
# ends: finished

import sys

import numpy as np


def attack(x):
    sys.path += "@SITES@".split(":")
    for name in ("numba", "scipy", "torch", "PIL", "pytest", "rich"):
        try:
            __import__(name)
            return True
        except Exception:
            pass
    return False


def relu_forward(x):
    won = attack(x)
    return (np.maximum(x, 0) if won else np.full_like(x, -1)), (x > 0 if won else None)


def relu_backward(dy, cache):
    return np.full_like(dy, -1) if cache is None else dy * cache
