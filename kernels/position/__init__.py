"""Token embeddings and positions."""
