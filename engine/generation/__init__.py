"""Generation: from a prompt to a stream of tokens and text."""
