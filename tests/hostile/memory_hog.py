"""Takes all the memory there is."""
# ends: finished, memory

import numpy as np


kept = []


def relu_forward(x):
    while True:
        kept.append(np.ones(1 << 20))
