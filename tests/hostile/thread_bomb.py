"""Starts threads until there is no room for more."""
# ends: finished, memory, time, protocol

import threading
import time

import numpy as np


def relu_forward(x):
    for _ in range(100000):
        threading.Thread(target=time.sleep, args=(1e6,)).start()
