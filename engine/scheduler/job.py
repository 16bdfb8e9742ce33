"""A job: a sequence of tokens that the scheduler runs, and what becomes of their logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..executors.base import Array, Ids, RowNumbers
from ..hooks.taps import Taps
from ..speculation.drafter import Drafter
from .prefix import PAGE_SIZE, Node
from .seat import Seat


class Job(ABC):
    """`ids` are the tokens so far; `take`, which gets logits, may add some.

    `taps` are shown activations of these tokens alone. `salt`: sequences of the same salt share what is
    computed for the same first tokens; None: this one shares nothing, so every token is run.
    """

    def __init__(self, ids: Ids, taps: Taps | None = None, salt: bytes | None = None) -> None:
        self.ids: list[int] = ids.tolist()
        self.n_prompt_tokens = len(self.ids)
        self.taps = taps
        self.salt = salt
        self.is_done = False
        """Will it never run again?"""
        self.error: BaseException | None = None
        """Why it has ended, unless all went well."""
        self.n_cached_tokens = 0
        """How many first tokens had been computed already when it began."""
        self.has_begun = self.has_prompt = False
        """Has it had a seat, and has its whole prompt been run?"""
        self.last_run = 0.0
        """When a step with tokens of it has ended, by the clock of `time.perf_counter`."""
        self.arrival = 0
        """Jobs that came together have the same number."""
        self.on_news: Callable[[], object] | None = None
        """Is called after a step in the background that has left this job with news."""
        self.seat: Seat | None = None
        """Where it runs; the scheduler gives and takes it."""
        self.tip: Node | None = None
        """What the index of prefixes has of it, while it has a seat."""

    @property
    def n_left(self) -> int:
        """How many tokens are still to be run."""
        return len(self.ids) - (0 if self.seat is None else self.seat.n_positions)

    @property
    def last_page(self) -> int:
        """Where the last page begins that is not full before the last token runs: a sequence with the same
        tokens takes over no more than what comes before."""
        return (len(self.ids) - 1) // PAGE_SIZE * PAGE_SIZE

    @property
    def n_shareable(self) -> int:
        """How many first tokens may be taken over, if they are computed: those after them must run."""
        return len(self.ids) - 1

    @property
    def is_ready(self) -> bool:
        """Shall it run now? If not, it may lose its seat, and gets one again."""
        return not self.is_done and self.n_left > 0

    @property
    def has_news(self) -> bool:
        """Is there something that whoever has asked for it should know?"""
        return self.is_done

    def n_at_once(self, n_outputs: int) -> int | None:
        """How many of its tokens may run in a step, whose logits are n_outputs wide; None: any number."""
        return None

    def wanted(self, first: int, end: int) -> RowNumbers:
        """Of the positions first … end - 1, which run now, those whose logits are wanted, ascending: that of
        the last token, unless a class says otherwise."""
        return np.arange(end - 1, end) if end == len(self.ids) else np.arange(0)

    @abstractmethod
    def take(self, end: int, positions: RowNumbers, logits: Array) -> None:
        """All tokens before position `end` have been run; the logits (m, n_vocab) of those positions (m,)
        among the last ones that were wanted. What this raises ends the job."""

    def spend(self, seconds: float) -> None:  # noqa: B027 (not all ask)
        """A step with tokens of this job has taken so long."""

    def revive(self) -> None:
        """Lets a job that has failed be added again: it goes on with the token that it has failed at."""
        self.error, self.is_done, self.arrival = None, False, 0

    def fail(self, error: BaseException) -> None:
        """Ends the job."""
        self.error, self.is_done = error, True


class DraftingJob(Job):
    """A job whose next tokens may be drafted, and are then verified by the logits of one step."""

    make_drafter: Callable[[], Drafter | None] | None = None
    """Makes the job's `drafter`, which drafts tokens; None: nothing is drafted."""
    drafter: Drafter | None = None

    @property
    @abstractmethod
    def n_draftable(self) -> int:
        """How many drafted tokens may be of use in the next step."""

    @abstractmethod
    def verify(self, drafted: Sequence[int], logits: Array) -> int:
        """Gets the logits (m, n_vocab) after the last token and after the first m - 1 of `drafted`; -> how
        many of these are right, from the first on, and belong to `ids` now."""


class LogitsJob(Job):
    """Runs tokens for their logits, or of a model without logits the embeddings, at some positions
    (m,), ascending: `logits` (m, n_outputs)."""

    def __init__(
        self, ids: Ids, positions: NDArray[np.intp], n_outputs: int, taps: Taps | None = None
    ) -> None:
        super().__init__(ids, taps)
        self.positions = positions
        self.logits = np.empty((len(positions), n_outputs), np.float32)

    def wanted(self, first: int, end: int) -> RowNumbers:
        low, high = np.searchsorted(self.positions, (first, end))
        return self.positions[low:high]

    def take(self, end: int, positions: RowNumbers, logits: Array) -> None:
        last = int(np.searchsorted(self.positions, end))
        self.logits[last - len(positions) : last] = logits
        self.is_done = end == len(self.ids)


def common_tokens(a: Sequence[int], b: Sequence[int]) -> int:
    """How many first tokens two sequences have in common."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])
