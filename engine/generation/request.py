"""A request: the handle of a text that is generated, or of several from the same prompt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...gguf_io.display import Shown, brief
from ..scheduler.driver import Driver
from ..scheduler.state_file import save_state
from .abandoned import ends_with
from .logprobs import TokenLogprob
from .output import FinishReason, Output, Timings
from .piece import Piece
from .text import Text
from .text_job import TextJob
from .work import Work

T = TypeVar("T")


class Pieces(Iterator[T]):
    """Pieces that are waited for: `async for` waits for each in a thread."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        import asyncio  # its user has; for others it would be 13 ms of the start

        piece = await asyncio.to_thread(next, self, None)
        if piece is None:
            raise StopAsyncIteration
        return piece


class Request(Shown, Pieces[Piece]):
    """A text that is generated: iterating over it, with `for` or `async for`, gives its pieces.

        for piece in llm.stream("Once upon a time"):
            print(piece, end="")

    A piece is a `str` with attributes: the `token_ids` that came since the one before, and their `logprobs`.
    What `LLM.stream` gives runs while it is read; several that are read side by side share their steps. What
    `LLM.submit` gives runs in the background. Leaving the loop, or `cancel`, ends the work. The attributes
    have the state so far, of the first text if there are several (`SamplingParams.n`).
    """

    def __init__(self, driver: Work, jobs: Sequence[Text]) -> None:
        self._driver = driver
        self._jobs = jobs
        self._job = jobs[0]
        for job in jobs:
            ends_with(self, driver.remove, job)

    @property
    def prompt_ids(self) -> list[int]:
        """The tokens of the prompt."""
        return self._job.ids[: self._job.n_prompt_tokens]

    @property
    def n_prompt_tokens(self) -> int:
        """How many tokens the prompt has."""
        return self._job.n_prompt_tokens

    @property
    def n_cached_tokens(self) -> int:
        """How many of them had been computed before, by a request with the same first tokens."""
        return self._job.n_cached_tokens

    @property
    def token_ids(self) -> list[int]:
        """The tokens so far, without the end-of-generation token."""
        return self._job.token_ids

    @property
    def logprobs(self) -> list[TokenLogprob] | None:
        """An entry for each of the tokens so far; None unless `SamplingParams.logprobs` asks for them."""
        return self._job.logprobs

    @property
    def seed(self) -> int:
        """What the draws depend on: `SamplingParams.seed`, or the random one that was taken."""
        return self._job.seed

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it has ended; None: it has not."""
        return self._job.finish_reason

    @property
    def is_done(self) -> bool:
        """Has it ended, for whatever reason? Then `take` gives the last pieces."""
        return all(job.is_done for job in self._jobs)

    @cached_property
    def choices(self) -> tuple[Request, ...]:
        """A request for each of the texts, which can be read by themselves."""
        return tuple(Request(self._driver, [job]) for job in self._jobs)

    @property
    def timings(self) -> Timings:
        """The times so far."""
        return self._job.timings

    def __next__(self) -> Piece:
        job = self._only_job("iterate over")
        self._driver.check_usable()
        if not job.pieces:
            self._run_until(lambda: job.pieces or job.is_done)
        if job.pieces:
            return job.pieces.popleft()
        if job.error is not None:
            error = job.error
            job.revive()  # who goes on nevertheless tries again
            raise error
        raise StopIteration

    def take(self) -> list[Piece]:
        """The pieces that have come and that nobody has read; it waits for none."""
        pieces = self._only_job("read").pieces
        return [pieces.popleft() for _ in range(len(pieces))]

    def result(self, timeout: float | None = None) -> Output:
        """Waits for the end; the output has the text that was not read yet. Raises what has ended it early,
        and TimeoutError after `timeout` seconds."""
        for job in self._jobs:
            job.waits = False
        self._run_until(lambda: self.is_done, timeout)
        for job in self._jobs:
            if job.error is not None:
                raise job.error
        return self.output()

    def output(self) -> Output:
        """What there is so far; of a request that has failed with the error."""
        first, *others = [job.output() for job in self._jobs]
        return replace(first, alternatives=tuple(others))

    def cancel(self) -> None:
        """Ends the work, from any thread, within a step."""
        for job in self._jobs:
            self._driver.remove(job)
        self._driver.tell()

    def save(self, path: str | os.PathLike[str]) -> NDArray[np.int32]:
        """Writes what has been computed so far to a file; -> the tokens of that, (n,) int32, without the last
        one that was generated: nothing is computed from it yet. See `LLM.save_state`."""
        job = self._only_job("save")
        if not isinstance(self._driver, Driver) or not isinstance(job, TextJob):
            raise RequestError("what runs in another process cannot be saved")
        return save_state(self._driver.scheduler, path, job)

    def _run_until(self, has_come: Callable[[], object], timeout: float | None = None) -> None:
        for job in self._jobs:
            job.is_asked = True
        try:
            self._driver.run_until(self._jobs, has_come, timeout)
        except BaseException:  # as Ctrl-C: it does not run until somebody waits for it again
            for job in self._jobs:
                job.is_asked = False
            raise

    def _only_job(self, verb: str) -> Text:
        if len(self._jobs) > 1:
            raise RequestError(
                f"you cannot {verb} a request for n={len(self._jobs)} texts; wait for its `result()`, or make"
                " a request for each"
            )
        return self._job

    def _facts(self) -> dict[str, str]:
        return {
            "n_prompt_tokens": str(self.n_prompt_tokens),
            "token_ids": brief(self.token_ids),
            "finish_reason": repr(self.finish_reason),
        }
