"""Synchronization of the threads of a team: atomic operations, sleeping and waking, calls through addresses.

The plain-Python bodies are the definitions, for one thread.
"""

from __future__ import annotations

from .pointer import Pointer

LINE = 8  # int64 elements in a cache line of 64 bytes: what different threads write lies that far apart


def atomic_load(p: Pointer) -> int:
    """The int64 at `p`; later reads see what was written before the matching store."""
    return int(p[0])


def atomic_store(p: Pointer, value: int) -> None:
    """Write the int64 at `p`; earlier writes are seen before it."""
    p[0] = value


def atomic_add(p: Pointer, value: int) -> int:
    """Add to the int64 at `p` in one step; the value before."""
    before = int(p[0])
    p[0] = before + value
    return before


def atomic_exchange(p: Pointer, value: int) -> int:
    """Replace the int64 at `p` in one step; the value before."""
    before = int(p[0])
    p[0] = value
    return before


def atomic_compare_exchange(p: Pointer, expected: int, value: int) -> int:
    """Replace the int64 at `p` in one step if it is `expected`; the value before."""
    before = int(p[0])
    if before == expected:
        p[0] = value
    return before


def pause() -> None:
    """Tell the core that this is a spin loop."""


def sleep_while(p: Pointer, value: int) -> None:
    """Leave the core to others while the int64 at `p` is `value`: until `wake_all`, for a millisecond at
    most. Systems without a futex look again after some 50 microseconds."""


def wake_all(p: Pointer) -> None:
    """Wake those who sleep at `p`."""


def call_kernel(function: int, args: int, thread_id: int, n_threads: int) -> None:
    """Call the machine code of a kernel at an address."""
    raise RuntimeError("addresses of kernels can be called only from compiled code")
