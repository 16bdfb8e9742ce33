"""The calls of methods that run in an engine's process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ...engine.llm import LLM
from ...system.asker import Asker, AskerLeftError
from .messages import Answer, Cancel, Question, portable

_N_AT_ONCE = 4


class Questions:
    """Calls methods of an `LLM` in threads, and sends what they give: one answer for each question, even if
    nobody wants it any more."""

    def __init__(self, llm: LLM, send: Callable[[object], None]) -> None:
        self._llm, self._send = llm, send
        self._threads = ThreadPoolExecutor(_N_AT_ONCE, "nybble-questions")
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Asker, Future[None]]] = {}  # and what waits for a thread

    def begin(self, asked: Question) -> None:
        """Lets a method run, as soon as there is a thread."""
        asker = Asker()
        with self._lock:
            self._running[asked.key] = asker, self._threads.submit(self._answer, asker, asked)

    def cancel(self, asked: Cancel) -> None:
        """Ends one, within a step."""
        with self._lock:
            found = self._running.get(asked.key)
        if found is not None:
            asker, future = found
            asker.leave()
            if future.cancel():  # it had no thread yet
                self._end(asked.key, None, AskerLeftError())

    def _answer(self, asker: Asker, asked: Question) -> None:
        value, failure = None, None
        try:
            value = asker.run(getattr(self._llm, asked.method), *asked.args, **asked.kwargs)
            asker.check()  # it may be much to send
        except Exception as error:
            failure = error
        self._end(asked.key, value, failure)

    def _end(self, key: int, value: Any, error: BaseException | None) -> None:
        with self._lock:
            del self._running[key]
        try:
            self._send(Answer(key, value, None if error is None else portable(error)))
        except Exception as unsendable:  # the value cannot be pickled
            self._send(Answer(key, None, portable(unsendable)))
