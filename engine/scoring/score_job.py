"""The job that finds how probable the tokens of a continuation are."""

from __future__ import annotations

import numpy as np

from ..executors.base import Array, Ids, RowNumbers
from ..scheduler.job import Job
from ..scheduler.prefix import PAGE_SIZE

_MAX_LOGITS = 2**24  # of a step


class ScoreJob(Job):
    """Runs `context` (n,) and all of `continuation` (m,) but its last token, from which nothing is needed;
    what has been computed of the context is taken over, all but its last token, which predicts the first of
    the continuation.

    `logprobs` (m,) float64 has the log-softmax of each token of the continuation; `is_greedy` (m,) says
    whether it was the most probable one.
    """

    def __init__(self, context: Ids, continuation: Ids) -> None:
        super().__init__(np.concatenate([context, continuation[:-1]]), salt=b"")
        self._targets = continuation.tolist()
        self._first = len(context) - 1
        self.logprobs = np.zeros(len(continuation))
        self.is_greedy = np.zeros(len(continuation), bool)

    @property
    def n_shareable(self) -> int:
        return self._first

    @property
    def last_page(self) -> int:
        return self._first // PAGE_SIZE * PAGE_SIZE

    def n_at_once(self, n_outputs: int) -> int | None:
        start = 0 if self.seat is None else self.seat.n_positions
        return max(0, self._first - start) + max(1, _MAX_LOGITS // n_outputs)

    def wanted(self, first: int, end: int) -> RowNumbers:
        return np.arange(max(first, self._first), end)

    def take(self, end: int, positions: RowNumbers, logits: Array) -> None:
        for position, row in zip(positions.tolist(), logits, strict=True):
            i = position - self._first
            best = int(row.argmax())
            below = row - row[best]
            log_total = np.log(np.exp(below, out=row).sum(dtype=np.float64))  # `row` is not used any more
            self.logprobs[i] = below[self._targets[i]] - log_total
            self.is_greedy[i] = best == self._targets[i]
        self.is_done = end == len(self.ids)
