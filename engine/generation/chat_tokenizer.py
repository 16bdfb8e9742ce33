"""A tokenizer for the answers of a chat."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...tokenizer import StreamDecoder, Tokenizer


class ChatTokenizer:
    """Shows the control tokens that mark their parts of answers, and ends an answer where a turn
    ends."""

    def __init__(self, tokenizer: Tokenizer, shown_ids: Collection[int], end_ids: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self.shown_ids, self.end_ids = frozenset(shown_ids), frozenset(end_ids)
        self.eog_ids = (tokenizer.eog_ids | self.end_ids) - self.shown_ids
        self.suppressed_ids = tokenizer.suppressed_ids

    def stream_decoder(self, skip_special_tokens: bool = True, continuation: bool = False) -> StreamDecoder:
        """Decodes ids as they come; options as for `Tokenizer.stream_decoder`."""
        return self._tokenizer.stream_decoder(skip_special_tokens, continuation, self.shown_ids)

    def token_bytes(self, id_: int, skip_special_tokens: bool = True) -> bytes:
        """The bytes of a token; see `Tokenizer.token_bytes`."""
        return self._tokenizer.token_bytes(id_, skip_special_tokens)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of ids; see `Tokenizer.decode`."""
        return self._tokenizer.decode(ids, skip_special_tokens)
