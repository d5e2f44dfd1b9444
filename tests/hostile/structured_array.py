"""An array of records."""
# ends: finished

import numpy as np


def relu_forward(x):
    return np.zeros(x.shape, [("value", "f8")]), None
