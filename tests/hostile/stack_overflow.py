"""Recursion far beyond the stack."""
# ends: killed, finished

import sys

import numpy as np


sys.setrecursionlimit(1 << 30)


def relu_forward(x):
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return repr(nested), None
