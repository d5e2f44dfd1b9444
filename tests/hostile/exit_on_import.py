"""Leaves before anybody asked anything."""
# ends: exit

import os

import numpy as np


os._exit(0)
