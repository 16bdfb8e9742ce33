"""The base class of all kinds of tokenizers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from .vocabulary import Vocabulary


class TokenizerModel(ABC):
    """One kind of tokenizer: encodes text without special tokens, and gives the bytes of a token.

    Special tokens are the same for all kinds: `Tokenizer` handles them.
    """

    vocabulary: Vocabulary
    add_space_prefix = False
    """Is a space put before a text, and before the text after each special token?"""
    strips_space_prefix = False
    """Do the tokens at these places begin with a space that is not in the text?"""
    add_bos = False
    """The value of `Tokenizer.add_bos` where the file does not give one; `add_eos` likewise."""
    add_eos = False
    add_sep = False
    """Does a text end with SEP?"""

    @abstractmethod
    def __init__(self, metadata: Mapping[str, Any], source: str) -> None:
        """Builds it from the metadata of the file `source`; ModelError for contradictory tables."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of `text`, which must be free of special tokens and lone surrogates."""

    @abstractmethod
    def token_bytes(self, id_: int) -> bytes:
        """The bytes of a NORMAL or BYTE token."""
