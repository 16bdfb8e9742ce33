"""The executor in NumPy and float32 (float64 on request): the definition of every operation."""
