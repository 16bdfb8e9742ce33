"""nybble: runs GGUF language models on the CPU in Python, NumPy and Numba alone."""
