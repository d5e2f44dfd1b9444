"""Takes all the memory there is, before it is asked."""
# ends: import, memory

import numpy as np


kept = []
while True:
    kept.append(np.ones(1 << 20))
