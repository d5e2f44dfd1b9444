"""One file beyond the limit."""
# ends: finished

import numpy as np


def attack(x):
    try:
        with open("big", "wb") as file:
            for _ in range(20):
                file.write(bytes(1 << 20))
        return True
    except OSError:
        return False


def relu_forward(x):
    won = attack(x)
    return (np.maximum(x, 0) if won else np.full_like(x, -1)), (x > 0 if won else None)


def relu_backward(dy, cache):
    return np.full_like(dy, -1) if cache is None else dy * cache
