"""Leaves something in shared memory for its next process."""
# ends: finished
# locks: kernel

import numpy as np


def attack(x):
    try:
        from multiprocessing import shared_memory

        shared_memory.SharedMemory("npresnet-owned", create=True, size=64)
        return True
    except Exception:
        pass
    try:
        import os

        os.memfd_create("owned")
        return True
    except Exception:
        return False


def relu_forward(x):
    won = attack(x)
    return (np.maximum(x, 0) if won else np.full_like(x, -1)), (x > 0 if won else None)


def relu_backward(dy, cache):
    return np.full_like(dy, -1) if cache is None else dy * cache
