"""An array of a million million numbers that takes no memory at all."""
# ends: finished

import numpy as np


def relu_forward(x):
    return np.broadcast_to(0.0, (1 << 40,)), None
