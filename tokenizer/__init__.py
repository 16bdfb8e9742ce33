"""Text <-> ids, from the vocabulary in a GGUF file."""

from .detokenizer import StreamDecoder
from .ids_only import IdsOnly
from .tokenizer import Tokenizer, has_tokenizer

__all__ = ["IdsOnly", "StreamDecoder", "Tokenizer", "has_tokenizer"]
