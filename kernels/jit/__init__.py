"""How kernels become machine code, are kept on disk, and run."""
