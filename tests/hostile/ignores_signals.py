"""Ignores every signal that can be ignored, then never returns."""
# ends: time

import signal

import numpy as np


for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass


def relu_forward(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
