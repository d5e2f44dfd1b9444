"""A tuple that claims to have no end, and a cache that is one."""
# ends: time, finished

import numpy as np


class Endless(tuple):
    def __iter__(self):
        while True:
            yield 0

    def __len__(self):
        return 2


def relu_forward(x):
    return Endless((x,))
