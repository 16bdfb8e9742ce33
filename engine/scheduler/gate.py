"""The gate to a model that runs: one thread at a time, in the process that made it, until it is closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NoReturn, TypeVar

from ...errors import NybbleError, RequestError

T = TypeVar("T")


class Gate:
    """Who may use an executor now. An edit, which is part of a step, may not."""

    def __init__(self) -> None:
        self.is_open = True
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._running_in: int | None = None

    def __reduce__(self) -> NoReturn:
        raise RequestError(
            "an LLM cannot be pickled or copied: its weights, threads and file belong to this process; pass"
            " its path (llm.path) and make an LLM of it in each process, once (the initializer of a pool);"
            " threads may share one"
        )

    def check_usable(self) -> None:
        """Raises `NybbleError` after `close`, and in the child of a fork."""
        if not self.is_in_its_process:
            raise NybbleError(
                "this LLM was made before a fork, and its threads did not come along; make a new one in this"
                " process (with multiprocessing: use the start method 'spawn')"
            )
        if not self.is_open:
            raise NybbleError(
                "this LLM has been closed; make a new one (its tokenizer, and the traces and arrays"
                " that it gave, are still of use)"
            )

    @property
    def is_in_its_process(self) -> bool:
        """Is this the process that made it, not a child?"""
        return os.getpid() == self._process

    def exclusive(self) -> AbstractContextManager[object]:
        """For `with`: keeps other threads out. Raises what `check_usable` raises; RequestError in an edit.

        It is the lock itself: Ctrl-C in an `__enter__` that is written in Python could leave it locked.
        """
        self.check_usable()  # before the lock: it may have been held when the process forked
        if self._running_in == threading.get_ident():  # an edit, or a signal's handler
            raise RequestError(
                "this LLM is running; an edit or a callback, which is part of that, cannot use it"
            )
        return self._lock

    def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Calls `work` alone, and keeps its edits from using the model."""
        with self.exclusive():
            self.check_usable()  # it may have been closed while this waited for the lock
            self._running_in = threading.get_ident()
            try:
                return work(*arguments)
            finally:
                self._running_in = None

    def try_now(self, work: Callable[[], None]) -> None:
        """Calls `work` unless a thread, perhaps this one, is at work."""
        if self.is_in_its_process and self._lock.acquire(blocking=False):
            try:
                if self._running_in is None and self.is_open:
                    work()
            finally:
                self._lock.release()

    def close(self, work: Callable[[], None]) -> None:
        """Waits for the step in progress, calls `work` and lets nobody in any more; the second time nothing
        happens, nor in the child of a fork, where everything belongs to the parent."""
        if not self.is_in_its_process:
            return
        with self._lock:
            if self._running_in is not None:  # in this thread, which has the lock
                raise RequestError("this LLM is running; an edit, which is part of that, cannot close it")
            if self.is_open:
                self.is_open = False
                work()
