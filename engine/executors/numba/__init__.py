"""The executor of compiled kernels."""
