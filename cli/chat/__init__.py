"""Conversations at a terminal: what is read, what is shown, and what is kept of them."""
