"""Which machine the code is for."""
