"""How the operations of the kernel language become LLVM IR."""
