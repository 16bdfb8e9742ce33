"""A model's numbers, read from the metadata of its file."""
