"""A thread that should keep the process from ending."""
# ends: finished

import threading
import time

import numpy as np


def relu_forward(x):
    threading.Thread(target=time.sleep, args=(1e6,)).start()
    return np.full_like(x, -1), None
