"""Ends itself by force."""
# ends: killed

import os
import signal

import numpy as np


def relu_forward(x):
    os.kill(os.getpid(), signal.SIGKILL)
