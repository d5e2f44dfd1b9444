"""npresnet: ResNet in pure Python on NumPy and Numba."""
