"""The substitute for a tokenizer where a file has none: its model runs on ids alone."""

from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.file import GGUFFile
from .detokenizer import StreamDecoder
from .keys import warn_of_unknown_keys
from .special_ids import marked_end_ids, read_special_ids, read_suppressed_ids


class IdsOnly:
    """The ids after which generation ends, `eog_ids`, and those that are never generated, `suppressed_ids`
    (n,); no text."""

    def __init__(self, eog_ids: frozenset[int], suppressed_ids: NDArray[np.intp]) -> None:
        self.eog_ids, self.suppressed_ids = eog_ids, suppressed_ids

    @classmethod
    def from_gguf(cls, file: GGUFFile, n_vocab: int) -> Self:
        """Reads the ids below `n_vocab` from the metadata; ModelError for a value that is no integer."""
        metadata, source = file.metadata, str(file.path)
        warn_of_unknown_keys(metadata, source)
        special_ids = read_special_ids(metadata, source, n_vocab)
        return cls(
            marked_end_ids(metadata, source, n_vocab, special_ids),
            read_suppressed_ids(metadata, source, n_vocab),
        )

    def stream_decoder(self, skip_special_tokens: bool = True, continuation: bool = False) -> StreamDecoder:
        """A decoder that gives no text for any id; options as for `Tokenizer.stream_decoder`."""
        return StreamDecoder(lambda id_: b"", None, not continuation)
