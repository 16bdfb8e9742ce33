"""The plan of a model: its operations in order, their buffers and states; no kernels."""
