"""Placeholder replaced in the next commit: atomics and barriers."""
