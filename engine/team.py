"""A team of threads that runs programs of kernel calls together (`kernels/runner.py`).

Thread 0 is whoever calls `run`; the others are workers that spin briefly for the next program and then
sleep. ctypes releases the GIL around machine code, so other Python threads go on. Workers do not survive a
fork: in the child, `run` raises.
"""

from __future__ import annotations

import os
import threading
import weakref

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import NybbleError
from ..kernels import runner
from ..kernels.kernel import JIT_DISABLED, Call


class Program:
    """Kernel calls in order; `meet[i]`: whether the threads wait for each other after call i; `turns[i]`: by
    how many the shares of its threads are shifted."""

    def __init__(self, calls: list[Call], meet: list[bool], turns: list[int] | None = None) -> None:
        self.calls = calls
        rows = (
            []
            if JIT_DISABLED
            else [
                (c.kernel.address, c.args_address, m, turn)
                for c, m, turn in zip(calls, meet, turns or [0] * len(calls), strict=True)
            ]
        )
        self.words = np.array(rows, np.int64).reshape(-1)


class Team:
    """`n_threads` threads, the caller's included, that run one `Program`."""

    def __init__(self, program: Program, n_threads: int) -> None:
        self.program = program
        self.n_threads = n_threads
        self._pid = os.getpid()
        self._bells = [threading.Semaphore(0) for _ in range(1, n_threads)]
        self._control = runner.control_block(n_threads)
        self._start = runner.start.bind(control=self._control, first=0, last=0)
        self._lead = runner.lead.bind(control=self._control, program=program.words)
        self._serve = runner.serve.bind(control=self._control, program=program.words)
        self._stop = weakref.finalize(self, _stop, self._control, self._bells, self._pid)
        self._workers: list[threading.Thread] = []
        if JIT_DISABLED:
            return
        for thread_id, bell in enumerate(self._bells, 1):
            arguments = (self._serve, self._control, bell, thread_id, n_threads)
            worker = threading.Thread(target=_work, args=arguments, name=f"nybble-{thread_id}", daemon=True)
            self._workers.append(worker)
            worker.start()

    def run(self, first: int, last: int) -> None:
        """Run calls `first` … `last - 1` of the program with all threads; returns when all are done.

        Raises NybbleError after `close`, and in a child process of the one that made the team.
        """
        if os.getpid() != self._pid:
            raise NybbleError("this model was loaded before a fork; load it again in the child process")
        if not self._stop.alive:
            raise NybbleError("this model has been closed")
        if JIT_DISABLED:
            for call in self.program.calls[first:last]:
                call.run()
            return
        self.finish()
        self._start.set("first", first)
        self._start.set("last", last)
        self._start.run(0, self.n_threads)
        self.finish()

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
        """Lead what has been started, if anything; call it before changing memory that a program uses.

        Something has been started but not led after a Ctrl-C in the moment between the two: then the workers
        are at work on it or wait for their leader, and all that follows would hang if it did not come.
        """
        if self._control[runner.GENERATION] == self._control[runner.WORKERS + runner.SEEN]:
            return
        for thread_id, bell in enumerate(self._bells, 1):
            if self._control[runner.WORKERS + thread_id * runner.WORKER_WORDS + runner.BELL]:
                bell.release()  # once too often does no harm
        self._lead.run(0, self.n_threads)


def _stop(control: NDArray[np.int64], bells: list[threading.Semaphore], pid: int) -> None:
    if os.getpid() != pid:
        return  # a bell may have been held when the process forked
    control[runner.STOP] = 1
    for bell in bells:
        bell.release()


def _work(
    serve: Call, control: NDArray[np.int64], bell: threading.Semaphore, thread_id: int, n_threads: int
) -> None:
    while not control[runner.STOP]:
        serve.run(thread_id, n_threads)
        bell.acquire()
