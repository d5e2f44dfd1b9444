"""Leaves politely before anybody asked anything."""
# ends: exit

import numpy as np


raise SystemExit
