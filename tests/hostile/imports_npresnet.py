"""Imports the library that this is about."""
# ends: finished

import sys

import numpy as np


def attack(x):
    sys.path[:0] = ["@REPOSITORY@", *"@SITES@".split(":")]
    try:
        import npresnet.ops

        return True
    except Exception:
        pass
    try:
        from npresnet.grading import solution

        return True
    except Exception:
        return False


def relu_forward(x):
    won = attack(x)
    return (np.maximum(x, 0) if won else np.full_like(x, -1)), (x > 0 if won else None)


def relu_backward(dy, cache):
    return np.full_like(dy, -1) if cache is None else dy * cache
