"""An exception that usually ends a program."""
# ends: finished

import numpy as np


def relu_forward(x):
    raise KeyboardInterrupt
