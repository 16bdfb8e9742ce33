"""GGUF files: reading and writing them, their metadata, tensors and block formats, and quantization."""
