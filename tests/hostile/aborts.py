"""Aborts."""
# ends: killed

import os

import numpy as np


def relu_forward(x):
    os.abort()
