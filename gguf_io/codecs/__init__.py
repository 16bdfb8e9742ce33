"""Decoders and encoders of the block formats, in NumPy; `formats.py` one floor up is the table of them."""
