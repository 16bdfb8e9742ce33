"""Memory that is locked, and a system that refuses."""

import ctypes
import errno
import sys
from pathlib import Path

import numpy as np
import pytest

from nybble.errors import NybbleError
from nybble.system.locked_memory import LockedMemory, lock_limit

N_BYTES = 32 << 10
linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def locked_kilobytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmLck")).split()[1])


class Refusing:
    """A C library that locks so many arrays, and counts what is unlocked."""

    def __init__(self, n: int) -> None:
        self.n, self.n_unlocked = n, 0

    def mlock(self, place, size) -> int:
        self.n -= 1
        ctypes.set_errno(errno.ENOMEM)
        return -1 if self.n < 0 else 0

    def munlock(self, place, size) -> int:
        self.n_unlocked += 1
        return 0


@linux
def test_it_is_locked_until_it_is_closed():
    limit, before = lock_limit(), locked_kilobytes()
    assert limit is None or limit > 4 * N_BYTES, "raise `ulimit -l`"
    memory = LockedMemory([np.ones(N_BYTES, np.uint8)], [np.ones(N_BYTES, np.uint8)])
    assert memory.n_bytes == 2 * N_BYTES
    assert locked_kilobytes() - before >= 2 * N_BYTES >> 10
    memory.close()
    memory.close()
    assert locked_kilobytes() == before and memory.n_bytes == 0


def test_a_refusal_says_how_much_and_what_to_do_and_leaves_nothing_locked():
    libc = Refusing(2)
    arrays = [np.zeros(1_500_000, np.uint8)] * 2
    with pytest.raises(NybbleError) as caught:
        LockedMemory(arrays, arrays, libc)
    message = str(caught.value)
    assert message.startswith("mlock=True: 6 MB of weights and cache cannot be locked")
    assert "RLIMIT_MEMLOCK" in message and "ulimit -l unlimited" in message
    assert libc.n_unlocked == 2
