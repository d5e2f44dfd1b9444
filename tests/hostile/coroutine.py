"""A coroutine in place of a tuple."""
# ends: finished

import numpy as np


async def relu_forward(x):
    return np.maximum(x, 0), x > 0
