"""A team of threads that runs programs of kernel calls together.

Thread 0 is whoever calls `run`; the others are workers that spin briefly for the next program and then
sleep. ctypes releases the GIL around machine code, so other Python threads go on. Workers do not survive a
fork: in the child, `run` raises.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ....errors import NybbleError
from ....kernels.jit import phases
from ....kernels.jit.kernel import JIT_DISABLED, Call
from ....system.placement import Cpus, on_cpus
from ....system.threads import starting_threads

_HASTE = 5  # bits: 1 / 32 of the usual wait
# Its `put` is one call in C: a Ctrl-C comes before or after it, and leaves no lock held.
_Bell = queue.SimpleQueue[None]


class Program:
    """Kernel calls in order; `meet[i]`: whether the threads wait for each other after call i."""

    def __init__(self, calls: list[Call], meet: list[bool]) -> None:
        if len(calls) >= phases.MAX_CALLS:
            raise ValueError(f"a program has fewer than {phases.MAX_CALLS} calls, not {len(calls)}")
        self.calls = calls
        rows = (
            []
            if JIT_DISABLED
            else [
                (call.kernel.address, call.args_address, end)
                for call, end in zip(calls, _phase_ends(meet), strict=True)
            ]
        )
        self.words = np.array(rows, np.int64).reshape(-1)


def _phase_ends(meet: list[bool]) -> list[int]:
    """For each call, the one after the next meeting point, or the end."""
    ends, end = [], len(meet)
    for i in reversed(range(len(meet))):
        end = i + 1 if meet[i] else end
        ends.append(end)
    return ends[::-1]


class Team:
    """`n_threads` threads, the caller's included, that run one `Program`; `cpus`: those of each thread.
    NybbleError if they cannot be started."""

    def __init__(self, program: Program, n_threads: int, cpus: Sequence[Cpus] | None = None) -> None:
        self.program = program
        self._own_cpus = None if cpus is None else cpus[0]
        self.n_threads = n_threads
        self._pid = os.getpid()
        self._bells = [_Bell() for _ in range(1, n_threads)]
        self._control = phases.control_block(n_threads)
        self._start = phases.start.bind(control=self._control, first=0, last=0, haste=0)
        self._lead = phases.lead.bind(control=self._control, program=program.words)
        self._serve = phases.serve.bind(control=self._control, program=program.words)
        self._stop = weakref.finalize(self, _stop, self._control, self._bells, self._pid)
        self._workers: list[threading.Thread] = []
        if JIT_DISABLED:
            return
        try:
            for thread_id, bell in enumerate(self._bells, 1):
                arguments = (self._serve, self._control, bell, thread_id, n_threads)
                name = f"nybble-{thread_id}"
                worker = threading.Thread(target=_work, args=arguments, name=name, daemon=True)
                with starting_threads(n_threads):
                    worker.start()
                self._workers.append(worker)
                if cpus is not None and worker.native_id is not None:
                    os.sched_setaffinity(worker.native_id, cpus[thread_id])
        except (NybbleError, OSError):
            self.close()
            raise

    def run(self, first: int, last: int, n_threads: int | None = None, spins: bool = True) -> float:
        """Run calls `first` … `last - 1` of the program with the first `n_threads` threads, by default all;
        returns when all are done, with the seconds that threads have waited for late ones. `spins`: they
        wait for each other awake for a while, as threads do that have their cores to themselves.

        Raises NybbleError after `close`, and in a child process of the one that made the team.
        """
        if os.getpid() != self._pid:
            raise NybbleError("this model was loaded before a fork; load it again in the child process")
        if not self._stop.alive:
            raise NybbleError("this model has been closed")
        if JIT_DISABLED:
            for call in self.program.calls[first:last]:
                call.run()
            return 0.0
        self.finish()
        before = int(self._control[phases.WAITED])
        self._start.set("first", first)
        self._start.set("last", last)
        self._start.set("haste", 0 if spins else _HASTE)
        with on_cpus(self._own_cpus):
            self._start.run(0, n_threads or self.n_threads)
            self.finish()
        return (int(self._control[phases.WAITED]) - before) * 25e-6

    def close(self) -> None:
        """End the workers; the team cannot run afterwards."""
        if os.getpid() != self._pid:
            return
        if self._stop.alive:
            self.finish()
        self._stop()
        for worker in self._workers:
            worker.join()

    def finish(self) -> None:
        """Finish what has been started, if anything; call it before changing memory that a program uses.

        Something has been started but not finished after a Ctrl-C in the moment between the two.
        """
        if self._control[phases.BELLS]:
            for thread_id, bell in enumerate(self._bells, 1):
                must_ring = phases.THREADS + thread_id * phases.THREAD_WORDS + phases.BELL
                if self._control[must_ring]:
                    bell.put(None)  # after a Ctrl-C here once too often, which does no harm
                    self._control[must_ring] = 0
            self._control[phases.BELLS] = 0
        if self._control[phases.PHASE] & phases.MAX_SHARES:
            self._lead.run(0, self.n_threads)


def _stop(control: NDArray[np.int64], bells: list[_Bell], pid: int) -> None:
    if os.getpid() != pid:
        return  # a bell may have been held when the process forked
    control[phases.STOP] = 1
    for bell in bells:
        bell.put(None)


def _work(serve: Call, control: NDArray[np.int64], bell: _Bell, thread_id: int, n_threads: int) -> None:
    while not control[phases.STOP]:
        serve.run(thread_id, n_threads)
        bell.get()
