"""How models write calls of tools: one file for each kind of format."""
