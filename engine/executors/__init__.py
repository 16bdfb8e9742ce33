"""What runs a plan: `reference` in NumPy, `numba` with compiled kernels."""
