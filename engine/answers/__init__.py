"""Conversations become prompts, and texts answers: reasoning, words and calls of tools."""
