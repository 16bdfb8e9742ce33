"""Whoever waits for what a thread computes, and may leave before it is done."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import TypeVar

from ..errors import NybbleError

T = TypeVar("T")

_OFTEN = 1024  # items: some milliseconds


class AskerLeftError(NybbleError):
    """Nobody waits any more for what was being computed."""

    def __init__(self, message: str = "whoever has asked for this has left") -> None:
        super().__init__(message)


class Asker:
    """Somebody for whom a thread works: `run` it there, and `leave` from any other.

    asker = Asker()
    thread = Thread(target=asker.run, args=[llm.embed, texts])
    asker.leave()  # `embed` raises AskerLeftError, within a step
    """

    def __init__(self) -> None:
        self.has_left = False
        self._lock = threading.Lock()
        self._on_leave: list[Callable[[], object]] = []

    def run(self, work: Callable[..., T], *args: object, **kwargs: object) -> T:
        """`work(*args, **kwargs)`. Raises what it raises, and AskerLeftError soon after `leave`."""
        token = _ASKER.set(self)
        try:
            self.check()
            return work(*args, **kwargs)
        finally:
            _ASKER.reset(token)

    def leave(self) -> None:
        """Ends what is done for him; more than once is fine."""
        with self._lock:
            self.has_left = True
            told = list(self._on_leave)
        for on_leave in told:
            on_leave()

    def check(self) -> None:
        """AskerLeftError if he has left."""
        if self.has_left:
            raise AskerLeftError

    @contextlib.contextmanager
    def telling(self, on_leave: Callable[[], object]) -> Iterator[None]:
        """As long as the context, `leave` calls `on_leave()`, which ends what is waited for there. The
        context raises AskerLeftError if he has left, whatever that has led to."""
        with self._lock:
            self.check()
            self._on_leave.append(on_leave)
        try:
            yield
        finally:
            with self._lock:
                self._on_leave.remove(on_leave)
            self.check()


_ASKER: ContextVar[Asker | None] = ContextVar("asker", default=None)


def unless_asker_leaves(on_leave: Callable[[], object]) -> AbstractContextManager[None]:
    """`Asker.telling` of the one for whom this thread works; nothing if there is none."""
    asker = _ASKER.get()
    return nullcontext() if asker is None else asker.telling(on_leave)


def check_asker() -> None:
    """AskerLeftError if this thread works for somebody who has left; for what takes long without waiting."""
    asker = _ASKER.get()
    if asker is not None:
        asker.check()


def while_asked(items: Iterable[T]) -> Iterator[T]:
    """The items, with `check_asker` before the first one and now and then."""
    for i, item in enumerate(items):
        if i % _OFTEN == 0:
            check_asker()
        yield item
