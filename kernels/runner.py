"""Programs: lists of kernel calls that all threads of a team run together, without Python in between.

A program is an int64 array (n_calls, 4): the kernel's address, its arguments' address, whether all threads
must meet after it (calls that do not depend on each other need not), and by how many the threads' shares are
shifted: where many small calls cannot be divided evenly, they take turns with the larger share. One C call
runs many kernels: a small model has some 400 calls a token, and a call through Python would cost more than
most of them.

The control block (int64; what different threads write lies `sync.LINE` apart):

    GENERATION      counts the programs started; the leader raises it, workers wait for it
    ARRIVED, PHASE  the barrier
    FIRST, LAST     the range of calls to run
    STOP            workers leave for good
    WORKERS + i     for thread i: SEEN, the generation it has run; for workers also ASLEEP, 1 while it is,
                    or is about to be, asleep outside of the machine code; BELL, 1 if it must be woken
"""

from __future__ import annotations

import numpy as np

from .kernel import kernel
from .pointer import I64
from .record import PointerTo, Record
from .source import inlined
from .sync import LINE, atomic_exchange, atomic_load, atomic_store, barrier, call_kernel, pause

GENERATION, ARRIVED, PHASE, FIRST, LAST, STOP, WORKERS = (i * LINE for i in range(7))
SEEN, ASLEEP, BELL = (i * LINE for i in range(3))
WORKER_WORDS = 3 * LINE
SPINS_BEFORE_SLEEP = (
    60_000  # about 1 to 3 ms: longer than the Python between two tokens, shorter than anyone notices
)
CALL_WORDS = 4

START = Record(control=PointerTo(I64), first=I64, last=I64)
RUN = Record(control=PointerTo(I64), program=PointerTo(I64))


def control_block(n_threads: int) -> np.ndarray:
    """A control block for a team of `n_threads`, at rest."""
    return np.zeros(WORKERS + n_threads * WORKER_WORDS, np.int64)


@inlined
def run_calls(program, first, last, control, thread_id, n_threads):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        call = program + i * CALL_WORDS
        call_kernel(call[0], call[1], (thread_id + call[3]) % n_threads, n_threads)
        if call[2] != 0:
            barrier(control + ARRIVED, n_threads)


@kernel(START)
def start(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    """Announce a program to the workers; afterwards BELL of those that have gone to sleep is 1."""
    control = args.control
    control[FIRST] = args.first
    control[LAST] = args.last
    atomic_store(control + GENERATION, atomic_load(control + GENERATION) + 1)
    for i in range(1, n_threads):
        worker = control + (WORKERS + i * WORKER_WORDS)
        worker[BELL] = atomic_exchange(worker + ASLEEP, 0)


@kernel(RUN)
def lead(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    """The leader's share of the announced program; returns when all threads are done."""
    control = args.control
    run_calls(args.program, control[FIRST], control[LAST], control, 0, n_threads)
    barrier(control + ARRIVED, n_threads)
    control[WORKERS + SEEN] = control[GENERATION]


@kernel(RUN)
def serve(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    """A worker's part: run program after program; return at STOP, or to sleep when none has come for a while.

    The leader raises GENERATION before it looks at ASLEEP, the worker sets ASLEEP before it looks at
    GENERATION: one of the two always sees the other, so that no program is missed.
    """
    control = args.control
    worker = control + (WORKERS + thread_id * WORKER_WORDS)
    atomic_store(worker + ASLEEP, 0)
    n = 0
    while atomic_load(control + STOP) == 0:
        if atomic_load(control + GENERATION) != worker[SEEN]:
            worker[SEEN] += 1
            run_calls(args.program, control[FIRST], control[LAST], control, thread_id, n_threads)
            barrier(control + ARRIVED, n_threads)
            n = 0
        elif n < SPINS_BEFORE_SLEEP:
            pause()
            n += 1
        else:
            atomic_exchange(worker + ASLEEP, 1)
            if atomic_load(control + GENERATION) == worker[SEEN]:
                return
            atomic_exchange(worker + ASLEEP, 0)
            n = 0
