"""Sleeps for longer than anybody waits."""
# ends: time

import time

import numpy as np


def relu_forward(x):
    time.sleep(1e6)
