"""A lock between processes, which the operating system releases when its holder ends, even if it is
killed."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextmanager
def file_lock(
    path: Path, on_wait: Callable[[], None] = lambda: None, patience: float = math.inf
) -> Iterator[bool]:
    """Locks the file `path`, which is created, and stays; calls `on_wait` once if another process has the
    lock.

    Yields True if the lock is held. False: the file system has no locks (ENOLCK and the like; some network
    file systems), or another process, perhaps a stopped one, still has it after `patience` seconds.

    Do not delete the file: others could lock a new one while some still wait for the old one.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        is_locked = _lock(descriptor, on_wait, patience)
        try:
            yield is_locked
        finally:
            if is_locked:
                _unlock(descriptor)  # closing would not, if a child has inherited it
    finally:
        os.close(descriptor)


def _lock(descriptor: int, on_wait: Callable[[], None], patience: float) -> bool:
    start = time.monotonic()
    try:
        if _try_lock(descriptor):
            return True
        on_wait()
        while time.monotonic() - start < patience:
            time.sleep(0.05)
            if _try_lock(descriptor):
                return True
    except OSError:  # there are no locks here
        pass
    return False
