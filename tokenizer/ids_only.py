"""What stands in for a tokenizer where a file has none: its model runs on ids alone."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..gguf_io import GGUFFile
from .detokenizer import StreamDecoder
from .keys import warn_of_unknown_keys
from .special_ids import marked_end_ids, read_special_ids, read_suppressed_ids


class IdsOnly:
    """Knows after which ids generation ends, `eog_ids`, which are never generated, `suppressed_ids` (n,), and
    no text."""

    def __init__(self, eog_ids: frozenset[int], suppressed_ids: NDArray[np.intp]) -> None:
        self.eog_ids, self.suppressed_ids = eog_ids, suppressed_ids

    @classmethod
    def from_gguf(cls, file: GGUFFile, n_vocab: int) -> Self:
        """With what the file says of ids below `n_vocab`; ModelError for what is no integer."""
        metadata, source = file.metadata, str(file.path)
        warn_of_unknown_keys(metadata, source)
        special_ids = read_special_ids(metadata, source, n_vocab)
        return cls(
            marked_end_ids(metadata, source, n_vocab, special_ids),
            read_suppressed_ids(metadata, source, n_vocab),
        )

    def stream_decoder(self, skip_special_tokens: bool = True, continuation: bool = False) -> StreamDecoder:
        """A decoder for which every id stands for nothing."""
        return StreamDecoder(lambda id_: b"", None, not continuation)
