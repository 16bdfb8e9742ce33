"""What stands in for a tokenizer where a file has none: its model runs on ids alone."""

from typing import Self

from ..gguf_io import GGUFFile
from .detokenizer import StreamDecoder
from .vocabulary import marked_end_ids


class IdsOnly:
    """Knows after which ids generation ends, `eog_ids`, and no text."""

    def __init__(self, eog_ids: frozenset[int]) -> None:
        self.eog_ids = eog_ids

    @classmethod
    def from_gguf(cls, file: GGUFFile, n_vocab: int) -> Self:
        """With the ends that the file marks; ModelError if one is no integer or not below `n_vocab`."""
        return cls(marked_end_ids(file.metadata, str(file.path), n_vocab))

    def stream_decoder(self, skip_special_tokens: bool = True, continuation: bool = False) -> StreamDecoder:
        """A decoder for which every id stands for nothing."""
        return StreamDecoder(lambda id_: b"", None, not continuation)
