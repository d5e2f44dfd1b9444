"""Burns processor time in many threads and returns at once."""
# ends: finished, time

import threading

import numpy as np


def spin():
    n = 0
    while True:
        n += 1


def relu_forward(x):
    for _ in range(4):
        threading.Thread(target=spin).start()
    return np.full_like(x, -1), None
