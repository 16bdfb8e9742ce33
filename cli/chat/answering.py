"""While an answer is shown: Ctrl-C ends it and not the program, and keys are not echoed into it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .session import Answer


class Answering:
    """Iterating gives the pieces of an answer, until Ctrl-C; nothing is raised then. Only reading is broken
    off: what draws the pieces always comes to the end of a picture."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._is_reading = False
        self._is_stopped = False

    def __iter__(self) -> Iterator[Any]:
        with self._interrupts(), _no_echo():
            try:
                while not self._is_stopped:
                    self._is_reading = True
                    piece = next(self._answer, None)
                    self._is_reading = False
                    if piece is None:
                        return
                    yield piece
            except KeyboardInterrupt:
                pass
            self._answer.cancel()

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopped = True
        if self._is_reading:
            self._is_reading = False
            raise KeyboardInterrupt


@contextmanager
def _no_echo() -> Iterator[None]:
    """What is typed meanwhile waits, and is shown where it is read."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    try:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
