"""Embeddings of texts, and reranking."""
