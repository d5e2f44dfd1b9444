"""An exception whose message takes for ever."""
# ends: time

import numpy as np


class Slow(Exception):
    def __str__(self):
        while True:
            pass


def relu_forward(x):
    raise Slow
