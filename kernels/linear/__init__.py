"""Linear layers: a matrix times the activations of every token."""
