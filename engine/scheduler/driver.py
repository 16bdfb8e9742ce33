"""Who runs the steps of a scheduler: whoever waits for a job, or a thread in the background."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from ...system.asker import unless_asker_leaves
from .job import Job
from .scheduler import Scheduler

J = TypeVar("J", bound=Job)

_GRACE = 0.03  # of a step: how long the background waits for readers after it


class Driver:
    """Runs steps until something has come of a job."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._in_background: list[Job] = []

    def run_until(
        self, jobs: Sequence[Job], has_come: Callable[[], object], timeout: float | None = None
    ) -> None:
        """Returns when `has_come()`, which is checked after each step. Jobs that do not run in the background
        run now. TimeoutError after `timeout` seconds. If the `Asker` of this thread leaves, the jobs end."""
        with unless_asker_leaves(lambda: self._end(jobs)):
            self._run_until(jobs, has_come, timeout)

    def _run_until(self, jobs: Sequence[Job], has_come: Callable[[], object], timeout: float | None) -> None:
        started = time.monotonic()
        scheduler = self.scheduler
        if any(job in self._in_background for job in jobs):
            with self._news:
                if not self._news.wait_for(lambda: has_come() or not scheduler.gate.is_open, timeout):
                    raise TimeoutError(f"not done after {timeout:g} seconds")
            if not has_come():
                scheduler.gate.check_usable()
            return
        scheduler.add(*(job for job in jobs if job.arrival == 0))
        while not has_come():
            if not scheduler.step(unless=has_come) and not has_come():
                raise RuntimeError("no job is ready, and one is waited for")
            if timeout is not None and time.monotonic() - started > timeout and not has_come():
                raise TimeoutError(f"not done after {timeout:g} seconds")

    def run_in_order(self, jobs: Iterable[J]) -> Generator[J]:
        """Runs any number of jobs, as many at a time as keep all seats busy; gives them as they are done, in
        their order, whether they have failed or not."""
        source, n_max = iter(jobs), 2 * self.scheduler.executor.n_seq_max
        begun: deque[J] = deque()
        try:
            while True:
                active = [job for job in begun if not job.is_done]
                new = list(islice(source, n_max - len(active)))
                self.scheduler.add(*new)
                begun += new
                active += new
                if not begun:
                    return
                self.run_until(active, lambda active=active: any(job.is_done for job in active))  # type: ignore[misc]
                while begun and begun[0].is_done:
                    yield begun.popleft()
        finally:
            for job in begun:
                self.scheduler.remove(job)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Lets jobs run in a thread of its own, which ends when none is left."""
        self.scheduler.add(*jobs)
        with self._news:
            self._in_background += jobs
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nybble-scheduler", daemon=True)
                self._thread.start()

    def remove(self, job: Job) -> None:
        """Ends a job, from any thread, within a step."""
        self.scheduler.remove(job)

    def check_usable(self) -> None:
        """Raises what `Gate.check_usable` raises."""
        self.scheduler.gate.check_usable()

    def tell(self) -> None:
        """Wakes those who wait: something may have come."""
        with self._news:
            self._news.notify_all()

    def _end(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.remove(job)
        self.tell()

    def _run(self) -> None:
        while True:
            jobs = self._in_background
            told = {job for job in jobs if job.is_done}  # others may end meanwhile, by steps of other threads
            for on_news in {job.on_news for job in jobs if job.on_news and (job in told or job.has_news)}:
                on_news()
            with self._news:
                self._in_background = [job for job in self._in_background if job not in told]
                if not self._in_background or not self.scheduler.gate.is_open:
                    self._thread = None
                    self._news.notify_all()
                    return
            try:
                if self._are_readers_first() or not self.scheduler.step(unless=self._are_readers_first):
                    time.sleep(1e-4)
            except BaseException as error:  # an edit may raise SystemExit; nobody else would hear of it
                with self._news:
                    for job in self._in_background:
                        job.fail(error)
                        self.scheduler.remove(job)
            self.tell()

    def _are_readers_first(self) -> bool:
        """Who has just been given a piece may want the next one in the next step."""
        scheduler = self.scheduler
        end = scheduler.last_step_end + _GRACE * scheduler.step_seconds
        return time.perf_counter() < end and scheduler.has_readers
