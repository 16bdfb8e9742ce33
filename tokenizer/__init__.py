"""Text <-> ids, from the vocabulary in a GGUF file."""

from .detokenizer import StreamDecoder
from .tokenizer import Tokenizer, has_tokenizer

__all__ = ["StreamDecoder", "Tokenizer", "has_tokenizer"]
