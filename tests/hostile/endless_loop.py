"""Never returns."""
# ends: time

import numpy as np


def relu_forward(x):
    while True:
        pass
