"""What the front has asked of an engine, and has not got yet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol

from ...engine.executors.base import Ids
from ...engine.generation.piece import Piece
from ...engine.generation.text import Receipts, Text
from ...engine.hooks.taps import Edits
from ...engine.sampling.params import SamplingParams
from .messages import Answer, Begin, Question, TextNews

Marks = tuple[frozenset[int], frozenset[int]]


class Errand(Protocol):
    """Something that an engine does, and that another can be asked for after its death."""

    n_deaths: int
    """How many engines have died while it ran."""
    has_begun: bool
    """Does the engine run it, or does it wait there?"""
    is_sent: bool

    def message(self, key: int) -> object:
        """What asks an engine for it."""

    def forget_engine(self) -> None:
        """The engine that was asked has died."""

    @property
    def is_done(self) -> bool:
        """Does nobody want it any more, or has it come?"""

    @property
    def has_come(self) -> bool:
        """Has something of it come, so that it cannot be asked for again?"""

    def fail(self, error: BaseException) -> None:
        """Ends it."""


class RemoteText(Text):
    """A text that another process generates."""

    def __init__(
        self,
        ids: Ids,
        params: SamplingParams,
        choice: int,
        seed: int,
        seconds_before: tuple[float, float],
        receipts: Receipts,
    ) -> None:
        self.ids, self.receipts = ids.tolist(), receipts
        self.n_prompt_tokens, self.n_cached_tokens = len(ids), 0
        self.is_done = False
        self.error: BaseException | None = None
        self.on_news: Callable[[], object] | None = None
        self._begin_text(params.n, params.logprobs is not None, seconds_before)
        self.choice = choice
        self.has_come = False
        self.prompt: RemotePrompt
        self._seed = seed

    @property
    def seed(self) -> int:
        return self._seed

    def revive(self) -> None:
        """Its end is for good."""

    def take(self, news: TextNews) -> None:
        """Takes in what has come of it."""
        self.has_come = True
        first = len(self.token_ids)
        self.n_cached_tokens, self.n_chosen = news.n_cached, news.n_chosen
        self.times[2:] = news.times
        if news.prompt_logprobs is not None:
            self.prompt_logprobs = news.prompt_logprobs
        if self.logprobs is not None and news.logprobs is not None:
            self.logprobs += news.logprobs
        self.token_ids += news.token_ids
        ends = accumulate((n for _, n in news.pieces), initial=0)
        for (text, _), (start, end) in zip(news.pieces, pairwise(ends), strict=True):
            logprobs = None if self.logprobs is None else self.logprobs[first + start : first + end]
            self.pieces.append(Piece(text, news.token_ids[start:end], logprobs))
        if news.end is not None:
            self.finish_reason, self.error = news.end.finish_reason, news.end.error
            self.is_done = True

    def fail(self, error: BaseException) -> None:
        """Ends it."""
        self.error, self.is_done = error, True


class RemotePrompt:
    """The texts that continue one prompt; an `Errand`."""

    def __init__(
        self,
        ids: Ids,
        params: SamplingParams,
        edit: Edits | None,
        marks: Marks | None,
        texts: Sequence[RemoteText],
    ) -> None:
        self.n_deaths = 0
        self.has_begun = self.is_sent = False
        self.is_asked = False
        """Is it known to the ledger?"""
        self.texts = texts
        self.key: int | None = None
        self._asked = (ids, params, edit, marks)
        for text in texts:
            text.prompt = self

    def message(self, key: int) -> Begin:
        self.key = key
        return Begin(key, *self._asked)

    def forget_engine(self) -> None:
        self.is_sent = self.has_begun = False
        self.key = None

    @property
    def is_done(self) -> bool:
        return all(text.is_done for text in self.texts)

    @property
    def has_come(self) -> bool:
        return any(text.has_come for text in self.texts)

    def fail(self, error: BaseException) -> None:
        for text in self.texts:
            if not text.is_done:
                text.fail(error)


class RemoteCall:
    """A call of a method of the engine's `LLM`; an `Errand`. `waits`: after a death another engine is asked,
    once it is there."""

    def __init__(
        self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, waits: bool = True
    ) -> None:
        self._waits = waits
        self.n_deaths = 0
        self.is_sent = False
        self.has_begun = True  # it is computed at once
        self.key: int | None = None
        """By which the engine knows it, once it is sent."""
        self._asked = (method, args, kwargs)
        self._answer: Answer | None = None
        self._is_done = threading.Event()

    @property
    def has_come(self) -> bool:
        return self.is_done or not self._waits

    def forget_engine(self) -> None:
        self.is_sent = False
        self.key = None

    def message(self, key: int) -> Question:
        self.key = key
        return Question(key, *self._asked)

    @property
    def is_done(self) -> bool:
        return self._is_done.is_set()

    def take(self, answer: Answer) -> None:
        """The answer has come."""
        self._answer = answer
        self._is_done.set()

    def fail(self, error: BaseException) -> None:
        self.take(Answer(0, None, error))

    def result(self) -> Any:
        """Waits for what the method returns; raises what it raises."""
        self._is_done.wait()
        if self._answer is None:
            raise RuntimeError("it is done, and has no answer")
        if self._answer.error is not None:
            raise self._answer.error
        return self._answer.value
