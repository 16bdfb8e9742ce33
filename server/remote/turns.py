"""Steps of several processes, one at a time: cores that two of them share would serve both badly.

Two locks make it fair. Who wants to compute waits for the first one, takes the second, and lets go of the
first: so the one who waits is next, before the one who computes now can come again. The system releases both
when their holder dies.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return
            except PermissionError:
                time.sleep(0.0005)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class Turns:
    """This process's part in taking turns, by lock files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError if the files cannot be made, or have no locks there."""
        self._next, self._now = (
            os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600) for name in ("next", "now")
        )

    def take(self) -> None:
        """Waits for this process's turn."""
        _lock(self._next)
        try:
            _lock(self._now)
        finally:
            _unlock(self._next)

    def end(self) -> None:
        """Lets others compute."""
        _unlock(self._now)

    def close(self) -> None:
        """Closes the files."""
        os.close(self._next)
        os.close(self._now)
