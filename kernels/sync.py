"""What threads of a team say to each other: atomic loads and stores, a spin barrier, calls through addresses.

As `simd.py`: these plain-Python bodies are the definitions (for one thread), `sync_lowering.py` holds the
machine form.
"""

from __future__ import annotations

from .pointer import Pointer
from .source import inlined

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


def pause() -> None:
    """Tell the core that this is a spin loop."""


def rest() -> None:
    """Leave the core to others for some 50 microseconds."""


def call_kernel(function: int, args: int, thread_id: int, n_threads: int) -> None:
    """Call the machine code of a kernel at an address."""
    raise RuntimeError("addresses of kernels can be called only from compiled code")


SPINS_BEFORE_REST = 20_000
"""Some 0.3 ms: a thread that is waited for that long has lost its core to another program."""


@inlined
def barrier(p, n_threads):  # type: ignore[no-untyped-def]
    """Wait until `n_threads` threads are here. p[0] counts arrivals, p[LINE] the phases.

    Who waits too long rests: only an idle core makes the operating system move a waiting thread there, while
    a spinning one looks busy and would keep the late thread waiting for its next time slice.
    """
    phase = atomic_load(p + LINE)
    if atomic_add(p, 1) == n_threads - 1:
        atomic_store(p, 0)
        atomic_store(p + LINE, phase + 1)
    else:
        n_spins = 0
        while atomic_load(p + LINE) == phase:
            if n_spins < SPINS_BEFORE_REST:
                pause()
                n_spins += 1
            else:
                rest()
