"""A timer that raises exceptions in code that is not the submission's."""
# ends: finished, protocol, killed, import, exit

import signal

import numpy as np


def disturb(*args):
    raise SystemExit(0)


signal.signal(signal.SIGALRM, disturb)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)


def relu_forward(x):
    return np.full_like(x, -1), None
