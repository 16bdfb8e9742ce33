"""Memory that the system may not swap out, nor drop to read it again from a file."""

import ctypes
import os
import sys
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from ..errors import NybbleError

_ON_FAULT = 1  # MLOCK_ONFAULT of Linux: pages are locked when they come, and none is made to come


class LockedMemory:
    """Locks the memory of arrays until `close`. `whole`: their pages all come now, of a file too; `growing`:
    each when it is first used, on Linux.

    Raises NybbleError, with the limit and how to raise it, if the system refuses. `libc`: for tests.
    """

    def __init__(
        self, whole: Iterable[NDArray[Any]], growing: Iterable[NDArray[Any]] = (), libc: Any = None
    ) -> None:
        if sys.platform == "win32":
            raise NybbleError("mlock=True is not there on Windows; leave it out")
        self._libc = libc or ctypes.CDLL(None, use_errno=True)
        self._locked: list[tuple[ctypes.c_void_p, ctypes.c_size_t]] = []
        parts = [(array, False) for array in whole] + [(array, True) for array in growing]
        try:
            for array, grows in parts:
                self._lock(array, grows)
        except NybbleError as error:
            self.close()
            n_bytes = sum(array.nbytes for array, _ in parts)
            raise NybbleError(
                f"mlock=True: {n_bytes / 1e6:,.0f} MB of weights and cache cannot be locked in memory:"
                f" {error}; the limit of this process (RLIMIT_MEMLOCK) is {_limit()}; raise it"
                " (`ulimit -l unlimited`; of a service LimitMEMLOCK=infinity; of a container --ulimit"
                " memlock=-1), or leave mlock out"
            ) from None

    @property
    def n_bytes(self) -> int:
        """Bytes of the arrays that are locked."""
        return sum(size.value for _, size in self._locked)

    def close(self) -> None:
        """Unlocks it all: the memory may go on to be used for something else."""
        while self._locked:
            self._libc.munlock(*self._locked.pop())

    def _lock(self, array: NDArray[Any], grows: bool) -> None:
        place = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
        if grows and sys.platform == "linux" and hasattr(self._libc, "mlock2"):
            failed = self._libc.mlock2(*place, _ON_FAULT)
        else:
            failed = self._libc.mlock(*place)
        if failed:
            raise NybbleError(os.strerror(ctypes.get_errno()))
        self._locked.append(place)


def lock_limit() -> int | None:
    """How many bytes this process may lock; None for no limit, or where there is none to ask for."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _limit() -> str:
    limit = lock_limit()
    return "none" if limit is None else f"{limit / 1e6:,.3g} MB"
