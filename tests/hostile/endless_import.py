"""Never gets through its own import."""
# ends: time

import numpy as np


while True:
    pass
