"""What kernels are written in: pointers, records, SIMD operations, and helpers that are inlined."""
