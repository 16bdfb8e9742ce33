"""What a step of an engine's process is computed in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from .turns import Turns


class StepTurn:
    """A context: calls `before_step`, and takes turns with other processes where there are some. One thread
    computes at a time."""

    def __init__(self, before_step: Callable[[], None]) -> None:
        self._before_step = before_step
        self._turns: Turns | None = None
        self._is_shared = self._is_taken = False

    def share(self, folder: Path | None) -> None:
        """From the next step on takes turns with the processes that know this folder, always the same; None:
        no more."""
        if folder is not None and self._turns is None:
            self._turns = Turns(folder)
        self._is_shared = folder is not None

    def __enter__(self) -> None:
        self._before_step()
        if self._is_shared and self._turns is not None:
            self._turns.take()
            self._is_taken = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_taken and self._turns is not None:
            self._is_taken = False
            self._turns.end()
