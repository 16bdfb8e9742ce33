"""A sequence whose tokens the caller chooses."""

from __future__ import annotations

import os
from collections.abc import Sequence as Items
from contextlib import AbstractContextManager
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...gguf_io.display import Shown, brief
from ..executors.base import Array, Ids, RowNumbers
from ..hooks.taps import Taps
from ..scheduler.driver import Driver
from ..scheduler.job import Job
from ..scheduler.state_file import require_savable, save_state
from .abandoned import ends_with
from .prompt import checked_ids


class _SequenceJob(Job):
    """Keeps the logits after its last token."""

    logits: Array | None = None

    @property
    def is_ready(self) -> bool:  # one that has lost its seat runs again when there is something new
        return self.logits is None and super().is_ready

    def take(self, end: int, positions: RowNumbers, logits: Array) -> None:
        if len(positions):
            self.logits = logits[0].copy()


class Sequence(Shown):
    """Tokens, and the logits after them, for those who choose the next ones themselves.

        sequence = llm.sequence("The capital of France is")
        for _ in range(8):
            sequence.append(int(sequence.logits.argmax()))

    Tokens run when `logits` are asked for, together with those of other sequences that have some to run.
    """

    def __init__(self, driver: Driver, ids: Ids, taps: Taps | None = None, salt: bytes | None = None) -> None:
        self._driver = driver
        self._job = _SequenceJob(ids, taps, salt)
        self._end = ends_with(self, driver.scheduler.remove, self._job)

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self._job.ids)

    @property
    def ids(self) -> NDArray[np.int32]:
        """The tokens (n,)."""
        return np.array(self._job.ids, np.int32)

    @property
    def n_cached_tokens(self) -> int:
        """How many of the first tokens had been computed before, for another sequence or request."""
        return self._job.n_cached_tokens

    @property
    def logits(self) -> Array:
        """The logits (n_vocab,) float32 after the last token. Raises ModelError if they are NaN, and what an
        edit raises."""
        self.run()
        return self._job.logits  # type: ignore[return-value]  # `run` has made them

    def run(self) -> None:
        """Runs the tokens that have not run yet; `logits` does so, too, and raises the same."""
        job = self._open_job()
        self._driver.run_until([job], lambda: job.is_done or job.logits is not None)
        if (error := job.error) is not None:
            job.revive()  # who goes on nevertheless tries again
            raise error

    def append(self, ids: int | Items[int] | NDArray[np.integer]) -> None:
        """Adds a token, or several. RequestError if they are none of the vocabulary, or do not fit in the
        context."""
        job, n_ctx = self._open_job(), self._driver.scheduler.n_ctx
        new = checked_ids(
            [ids] if isinstance(ids, int | np.integer) else ids, self._driver.scheduler.n_outputs
        ).tolist()
        with self._between_steps():
            if len(job.ids) + len(new) > n_ctx:
                raise RequestError(
                    f"a sequence of {len(job.ids)} tokens has no room for {len(new)} more: the context holds"
                    f" n_ctx={n_ctx}"
                )
            if new:
                job.ids += new
                job.logits = None

    def truncate(self, n_tokens: int) -> None:
        """Forgets all tokens but the first n_tokens, of which there must be one at least."""
        job = self._open_job()
        if not isinstance(n_tokens, int | np.integer) or not 1 <= n_tokens <= len(job.ids):
            raise RequestError(f"n_tokens must be from 1 to {len(job.ids)}, not {n_tokens!r:.100}")
        with self._between_steps():
            if n_tokens < len(job.ids):
                self._driver.scheduler.truncate(job, int(n_tokens))
                job.logits = None

    def fork(self) -> Self:
        """Another sequence of the same tokens, which shares what has been computed for them."""
        job = self._open_job()
        with self._between_steps():
            new = type(self)(self._driver, self.ids, job.taps, job.salt)
            new._job.n_prompt_tokens = job.n_prompt_tokens  # edits know the prompt from what comes after it
            if job.arrival:
                self._driver.scheduler.fork(job, new._job)
                new._job.logits = None if job.logits is None else job.logits.copy()
        return new

    def save(self, path: str | os.PathLike[str]) -> NDArray[np.int32]:
        """Writes what has been computed of its tokens to a file; -> these, (n,) int32. See
        `LLM.save_state`."""
        require_savable(self._driver.scheduler, self._open_job())
        self.run()
        return save_state(self._driver.scheduler, path, self._job)

    def close(self) -> None:
        """Ends it: its memory is free for others. Closing twice is fine."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open_job(self) -> _SequenceJob:
        if self._job.is_done:
            raise RequestError("this sequence has been closed; make another with `LLM.sequence`")
        self._driver.scheduler.gate.check_usable()
        return self._job

    def _between_steps(self) -> AbstractContextManager[object]:
        """A context in which no thread runs a step, perhaps with tokens of this sequence."""
        return self._driver.scheduler.gate.exclusive()

    def _facts(self) -> dict[str, str]:
        return {"n_tokens": str(len(self)), "ids": brief(self._job.ids)}
