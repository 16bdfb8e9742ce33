"""Conversations -> the text that a model was trained to see."""
