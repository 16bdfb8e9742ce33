"""Recorded activations, and directions followed to the logits."""
