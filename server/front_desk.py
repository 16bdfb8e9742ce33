"""Who is let in: how much may run and wait, for all and for each key."""

from __future__ import annotations

from collections import Counter

from .metrics import Metrics
from .wire.errors import APIError
from .work.settings import Settings
from .work.usage import Usage

_RETRY_AFTER = 5  # seconds


class FrontDesk:
    """Counts what is in the house. All of it happens in the event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.metrics = metrics
        self._settings = settings
        self._n_texts = 0
        self._n_bytes = 0
        self._of_key: Counter[str] = Counter()
        self._calls: set[Usage] = set()

    @property
    def n_running(self) -> int:
        """Requests of which something has come."""
        return sum(usage.first is not None for usage in self._calls)

    @property
    def n_waiting(self) -> int:
        """Requests for which nothing has come yet."""
        return len(self._calls) - self.n_running

    def check_open(self) -> None:
        """`APIError` if not even one more text can wait."""
        self._check_texts(1)

    def visit(self, owner: str, usage: Usage) -> Visit:
        """A request of the key's `owner` comes; end it by `Visit.end`. `APIError` if the key has too many."""
        n_max = self._settings.n_per_key_max
        if n_max is not None and self._of_key[owner] >= n_max:
            raise APIError(
                429,
                f"this key has {n_max} requests that run or wait, which is its limit",
                retry_after=_RETRY_AFTER,
                code="rate_limit_exceeded",
            )
        return Visit(self, owner, usage)

    def _check_texts(self, n: int) -> None:
        n_max = self._settings.n_seq_max + self._settings.n_waiting_max
        if self._n_texts + n > n_max:
            self.metrics.n_refused += 1
            raise APIError(
                503,
                f"the queue is full: {self._n_texts} texts run or wait, of {n_max}; try again later",
                retry_after=_RETRY_AFTER,
                code="queue_full",
                closes=True,
            )

    def _check_bytes(self, n: int) -> None:
        if self._n_bytes + n > self._settings.bodies_max:
            raise APIError(
                503,
                "too many large requests come at once; try again later",
                retry_after=_RETRY_AFTER,
                closes=True,
            )


class Visit:
    """What one request takes up."""

    def __init__(self, desk: FrontDesk, owner: str, usage: Usage) -> None:
        self._desk, self._owner, self._usage = desk, owner, usage
        self._n_texts = self._n_bytes = 0
        desk._of_key[owner] += 1

    def admit(self, n_texts: int) -> None:
        """Takes places for so many texts, those that it has among them; `APIError` if the queue is full."""
        new = max(0, n_texts - self._n_texts)
        self._desk._check_texts(new)
        self._desk._calls.add(self._usage)
        self._desk._n_texts += new
        self._n_texts += new

    def read(self, n_bytes: int) -> None:
        """Takes memory for a piece of the body, or for a large answer; `APIError` if others have too much of
        it."""
        self._desk._check_bytes(n_bytes)
        self._desk._n_bytes += n_bytes
        self._n_bytes += n_bytes

    def end(self) -> None:
        """Gives all of it back."""
        desk = self._desk
        desk._n_texts -= self._n_texts
        desk._n_bytes -= self._n_bytes
        desk._calls.discard(self._usage)
        desk._of_key[self._owner] -= 1
        if not desk._of_key[self._owner]:
            del desk._of_key[self._owner]
        if self._n_texts:
            desk.metrics.add(self._usage)
