"""An object that never ends being deleted."""
# ends: time

import numpy as np


class Undead:
    def __del__(self):
        while True:
            pass


def relu_forward(x):
    return np.full_like(x, -1), Undead()
