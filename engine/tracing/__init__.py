"""Recorded activations, and the linear paths from activations to logits."""
