"""Writes to the terminal without Python, for ever."""
# ends: output

import os

import numpy as np


while True:
    os.write(2, b"y" * 1000)
