"""Which engines of this process take turns: all, where there are several."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading

from .messages import TakeTurns
from .supervisor import Supervisor


class TurnTakers:
    """The engines that there are. One alone computes without regard to others."""

    def __init__(self) -> None:
        self._engines: list[Supervisor] = []
        self._lock = threading.Lock()
        self._folder: str | None = None

    def enter(self, engine: Supervisor) -> None:
        """One more."""
        with self._lock:
            self._engines.append(engine)
            self._tell()

    def leave(self, engine: Supervisor) -> None:
        """One less; it may have left before."""
        with self._lock:
            if engine in self._engines:
                self._engines.remove(engine)
                self._tell()

    def _tell(self) -> None:
        if len(self._engines) > 1 and self._folder is None:
            self._folder = tempfile.mkdtemp(prefix="nybble-turns-")
            atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        turns = TakeTurns(self._folder if len(self._engines) > 1 else None)
        for engine in self._engines:
            engine.take_turns(turns)


TURN_TAKERS = TurnTakers()
