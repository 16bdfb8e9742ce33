"""One text of a request, as far as it has come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from ..receipts.source import ReceiptSource
from .logprobs import TokenLogprob
from .output import FinishReason, Output, Timings
from .piece import Piece

Receipts = Callable[..., ReceiptSource]
"""Gives what makes a receipt, for the tokens, the seed and the reason of the end."""


class Text(ABC):
    """What a `Request` reads, and what it asks for, wherever the text is generated: by a job in this process
    (`TextJob`), or in another."""

    ids: list[int]
    """Those of the prompt come first."""
    receipts: Receipts | None
    """None for a text that has no receipt."""
    n_prompt_tokens: int
    n_cached_tokens: int
    n_choices: int
    """How many texts there are for the prompt."""
    token_ids: list[int]
    """Without one that ends the generation."""
    logprobs: list[TokenLogprob] | None
    prompt_logprobs: list[TokenLogprob | None] | None
    finish_reason: FinishReason | None
    pieces: deque[Piece]
    """Those that nobody has read yet."""
    is_done: bool
    error: BaseException | None
    on_news: Callable[[], object] | None
    times: list[float]
    """The seconds that loading, compiling, the prompt and the tokens after it have taken."""
    n_chosen: int
    """How many tokens were chosen, with one that ends the generation."""
    is_asked: bool
    """Does somebody wait for it?"""
    in_background: bool
    """Does it run without that?"""
    waits: bool
    """Does it go on only when all pieces are read?"""

    def _begin_text(self, n_choices: int, has_logprobs: bool, seconds_before: tuple[float, float]) -> None:
        """Sets what is the same wherever it runs."""
        self.n_choices = n_choices
        self.token_ids = []
        self.logprobs = [] if has_logprobs else None
        self.prompt_logprobs = None
        self.finish_reason = None
        self.pieces = deque()
        self.times = [*seconds_before, 0.0, 0.0]
        self.n_chosen = 0
        self.is_asked = self.in_background = self.waits = False

    @property
    @abstractmethod
    def seed(self) -> int:
        """What the draws depend on."""

    @property
    def timings(self) -> Timings:
        """The times so far."""
        load, compile_, prefill, decode = self.times
        return Timings(load, compile_, prefill, decode, self.n_prompt_tokens, max(0, self.n_chosen - 1))

    def output(self) -> Output:
        """What has come of it, with the text that nobody has read."""
        text = "".join(self.pieces)
        self.pieces.clear()
        reason = (self.finish_reason or "cancelled") if self.error is None else "error"
        return Output(
            text,
            self.token_ids,
            reason,
            self.timings,
            self.n_cached_tokens,
            self.seed,
            self.logprobs,
            self.prompt_logprobs,
            self.error,
            receipt_source=self._receipt_source(reason),
        )

    def _receipt_source(self, reason: FinishReason) -> ReceiptSource | None:
        """None for a text that has failed."""
        if self.receipts is None or reason == "error":
            return None
        return self.receipts(
            prompt_ids=self.ids[: self.n_prompt_tokens],
            seed=self.seed,
            token_ids=list(self.token_ids),
            finish_reason=reason,
        )

    @abstractmethod
    def revive(self) -> None:
        """Is called when an error has been raised: whoever reads on nevertheless tries again."""
