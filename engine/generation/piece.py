"""A piece of a text that is generated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from .logprobs import TokenLogprob


class Piece(str):
    """A piece of a text: a str, with what belongs to it.

    token_ids   the tokens that came since the piece before, without one that ends the generation
    logprobs    an entry for each of them, or None if `SamplingParams.logprobs` is

    A piece is whole characters, and nothing that may be part of a stop string; so the text of a token may
    come with a later one. Last tokens without a text to be shown are in no piece; a request's own
    `token_ids` has all.
    """

    __slots__ = ("logprobs", "token_ids")
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None

    def __new__(
        cls, text: str, token_ids: Sequence[int] = (), logprobs: Sequence[TokenLogprob] | None = None
    ) -> Self:
        piece = super().__new__(cls, text)
        piece.token_ids = list(token_ids)
        piece.logprobs = None if logprobs is None else list(logprobs)
        return piece
