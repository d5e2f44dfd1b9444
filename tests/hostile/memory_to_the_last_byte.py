"""Takes all the memory, keeps it, and hopes that the judge is the one to fail."""
# ends: finished, memory, protocol, time, killed

import numpy as np


kept = []


def relu_forward(x):
    for size in (1 << 20, 1 << 12, 1 << 6):
        try:
            while True:
                kept.append(np.ones(size))
        except MemoryError:
            pass
    return np.full_like(x, -1), None
