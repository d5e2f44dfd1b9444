"""An endless generator in place of a tuple."""
# ends: finished

import numpy as np


def relu_forward(x):
    while True:
        yield np.maximum(x, 0)
