"""Weights as kernels read them: compute layouts, and packing from the blocks of a file."""
