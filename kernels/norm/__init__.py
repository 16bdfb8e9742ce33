"""Normalization, and residual streams side by side."""
