"""An object that would run code where it is unpickled."""
# ends: finished

import numpy as np


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit",)


def relu_forward(x):
    return Bomb(), None
