"""Programs: lists of kernel calls that all threads of a team run together, without Python in between.

A program is an int64 array (n_calls, 3): the kernel's address, its arguments' address, and the number of the
call after the next meeting point. One C call runs many kernels: a small model has some 400 calls a token, and
a call through Python would cost more than most of them.

Work is divided into phases and shares. A phase is the calls up to a meeting point: none of the next begins
before all of it is done. A share is a part of each call, and memory of its own; there is one for each thread.
A thread takes its own share, and then those that no thread has taken yet: a thread may be late because the
system has given its core to another program. So threads wait only for shares that were begun. Results do not
depend on which thread computes a share.

The control block (int64; what different threads write lies `sync.LINE` apart):

    PHASE           the work, in one word, so that one cache line has it all: the first call of the phase,
                    times 2**47; how many phases there were, times 2**11; the number of shares, 0 when
                    there is no work
    END             the end of the calls to run; in the same line HASTE, by how many bits waits are shorter
    DONE            how many shares of this phase are done; the thread that does the last begins the next
                    phase
    SLEEPERS        how many threads sleep until PHASE changes
    WAITED          how long threads have waited for others that were late, in 25 microseconds
    STOP            workers return for good
    BELLS           1 if some BELL is
    THREADS + i     for thread i: TAKEN, the number of the last phase in which somebody took share i; for
                    workers also OUTSIDE, 1 while it sleeps, or is about to sleep, outside the machine
                    code; BELL, 1 if it must be woken there and has not been yet
"""

from __future__ import annotations

import numpy as np

from ..language.pointer import I64
from ..language.record import PointerTo, Record
from ..language.source import inlined
from ..language.sync import (
    LINE,
    atomic_add,
    atomic_compare_exchange,
    atomic_exchange,
    atomic_load,
    atomic_store,
    call_kernel,
    pause,
    sleep_while,
    wake_all,
)
from .kernel import kernel

PHASE, END, DONE, SLEEPERS, WAITED, STOP, BELLS, THREADS = (i * LINE for i in range(8))
HASTE = END + 1
TAKEN, OUTSIDE, BELL = (i * LINE for i in range(3))
THREAD_WORDS = 3 * LINE
CALL_WORDS = 3
MAX_SHARES, MAX_CALLS = (1 << 11) - 1, 1 << 15  # a word is positive
PHASE_SHIFT, PHASE_MASK, FIRST_SHIFT = 11, (1 << 36) - 1, 47

SPINS_BEFORE_HELP = 1_000  # some 10 to 40 microseconds: longer than threads with cores of their own differ
SPINS_BEFORE_SLEEP = 5_000  # some 50 to 200 microseconds
SPINS_WHEN_IDLE = 60_000  # longer than the Python between two tokens
SLEEPS_BEFORE_LEAVING = 2

START = Record(control=PointerTo(I64), first=I64, last=I64, haste=I64)
RUN = Record(control=PointerTo(I64), program=PointerTo(I64))


def control_block(n_threads: int) -> np.ndarray:
    """A control block for a team of `n_threads`, at rest."""
    return np.zeros(THREADS + n_threads * THREAD_WORDS, np.int64)


@inlined
def begin_phase(control, first, n_shares):
    """Begin the phase of call `first`; with no shares if that is the end."""
    control[DONE] = 0
    n_phases = ((atomic_load(control + PHASE) >> PHASE_SHIFT) + 1) & PHASE_MASK
    shares = n_shares if first < control[END] else 0
    atomic_store(control + PHASE, first << FIRST_SHIFT | n_phases << PHASE_SHIFT | shares)
    if atomic_load(control + SLEEPERS) != 0:
        wake_all(control + PHASE)


@inlined
def try_share(control, program, word, share):
    """Take a share of the phase `word`, unless a thread has, and run it; whether it was free."""
    taken = control + (THREADS + share * THREAD_WORDS + TAKEN)
    seen = atomic_load(taken)
    n_phases = word >> PHASE_SHIFT & PHASE_MASK
    n_since = (n_phases - seen) & PHASE_MASK  # the count begins again after 2**36, some days of work
    if 0 < n_since <= PHASE_MASK >> 1 and atomic_compare_exchange(taken, seen, n_phases) == seen:
        n_shares = word & MAX_SHARES
        first = word >> FIRST_SHIFT
        last = min(program[first * CALL_WORDS + 2], control[END])  # END stands until this share is done
        for i in range(first, last):
            call = program + i * CALL_WORDS
            call_kernel(call[0], call[1], share, n_shares)
        if atomic_add(control + DONE, 1) == n_shares - 1:
            begin_phase(control, last, n_shares)
        return True
    return False


@inlined
def sleep(control, word):
    """Sleep until PHASE is no longer `word`, or for a while."""
    atomic_add(control + SLEEPERS, 1)
    sleep_while(control + PHASE, word)
    atomic_add(control + SLEEPERS, -1)


@inlined
def run_phases(control, program, thread_id):
    """Run phase after phase until there is no work."""
    n_spins = 0
    before = 0
    haste = 0
    while True:
        word = atomic_load(control + PHASE)
        n_shares = word & MAX_SHARES
        if n_shares <= thread_id:
            break
        if word != before:
            before = word
            n_spins = 0
            haste = control[HASTE]
            try_share(control, program, word, thread_id)
        elif n_spins < SPINS_BEFORE_SLEEP >> haste:
            n_spins += 1
            pause()
            if n_spins == SPINS_BEFORE_HELP >> haste:
                for i in range(1, n_shares):
                    if try_share(control, program, word, (thread_id + i) % n_shares):
                        atomic_add(control + WAITED, 1)
        else:
            sleep(control, word)  # a millisecond, or less, and the spins before
            atomic_add(control + WAITED, 40 if atomic_load(control + PHASE) == word else 5)


@kernel(START)
def start(args, thread_id, n_threads):
    """Announce calls first … last - 1 to the first `n_threads`, a share for each. Afterwards BELL is 1 of
    those workers that sleep outside: they are called, and must be woken even if the others do all the work
    before, for OUTSIDE no longer tells of them."""
    control = args.control
    control[END] = args.last
    control[HASTE] = args.haste
    begin_phase(control, args.first, n_threads)
    for i in range(1, n_threads):
        worker = control + (THREADS + i * THREAD_WORDS)
        if atomic_exchange(worker + OUTSIDE, 0) != 0:
            worker[BELL] = 1
            control[BELLS] = 1


@kernel(RUN)
def lead(args, thread_id, n_threads):
    """The leader's part of what was announced; returns when all of it is done."""
    run_phases(args.control, args.program, 0)


@kernel(RUN)
def serve(args, thread_id, n_threads):
    """A worker's part: program after program. Returns at STOP, or to sleep outside when no program has come
    for a while.

    The leader changes PHASE before it looks at OUTSIDE; the worker sets OUTSIDE before it looks at PHASE. So
    one of the two always sees the other, and no program is missed.
    """
    control = args.control
    outside = control + (THREADS + thread_id * THREAD_WORDS + OUTSIDE)
    atomic_store(outside, 0)
    n = 0
    n_sleeps = 0
    while atomic_load(control + STOP) == 0:
        word = atomic_load(control + PHASE)
        if word & MAX_SHARES > thread_id:
            run_phases(control, args.program, thread_id)
            n = 0
            n_sleeps = 0
        elif n < SPINS_WHEN_IDLE >> control[HASTE]:
            pause()
            n += 1
        elif n_sleeps < SLEEPS_BEFORE_LEAVING:
            sleep(control, word)
            n_sleeps += 1
        else:
            atomic_exchange(outside, 1)
            if atomic_load(control + PHASE) & MAX_SHARES <= thread_id:
                return
            atomic_exchange(outside, 0)
            n = 0
            n_sleeps = 0
