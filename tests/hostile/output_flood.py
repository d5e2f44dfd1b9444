"""Prints for ever."""
# ends: output

import numpy as np


def relu_forward(x):
    while True:
        print("y" * 1000)
