"""From logits to a token: references in NumPy, and compiled."""
