"""Decoders and encoders of the block formats, in NumPy."""
