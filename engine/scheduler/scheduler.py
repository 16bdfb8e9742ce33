"""The scheduler: which tokens of which jobs run in each step of an executor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, NybbleError, RequestError
from ..executors.base import Executor, Ids, Piece, States, StepRows
from ..hooks.taps import Taps
from .diagnosis import diagnose
from .gate import Gate
from .job import DraftingJob, Job, LogitsJob
from .pace import Pace
from .seat import Seat
from .seating import Seating
from .speculation import Speculation
from .stats import Stats

READING_SECONDS = 0.5
"""How long the reader of a stream is expected to come back."""


@dataclass(frozen=True)
class _Part:
    """What runs of a job in a step: its tokens that come next, and drafted ones, before position `end`."""

    job: Job
    seat: Seat
    end: int
    piece: Piece
    drafted: Sequence[int]


class Scheduler:
    """Runs jobs, which may come and go between steps: first one token of each that has begun, then tokens of
    prompts, first come, first served. No result depends on who else is there.

        scheduler.add(job)
        while not job.is_done:
            scheduler.step()

    `model_hash()` tells the executor's model from others: states are saved with it.
    """

    def __init__(self, executor: Executor, model_hash: Callable[[], str] = lambda: "") -> None:
        self.gate = Gate()
        self.n_ctx, self.n_batch, self.n_outputs = executor.n_ctx, executor.n_batch, executor.n_outputs
        self.executor = executor
        self.model_hash = model_hash
        self.seating = Seating(executor)
        self.last_step_end = self.step_seconds = 0.0
        """When the last step has ended, by the clock of `time.perf_counter`, and how long it has taken."""
        self._pace = Pace()
        self._speculation = Speculation()
        self._jobs: list[Job] = []  # in the order in which they came
        self._n_arrivals = self._n_steps = self._n_tokens = 0
        self._removed: deque[Job] = deque()  # by `remove`, and to be forgotten

    def add(self, *jobs: Job) -> None:
        """Takes jobs in, which come together; they run in the next steps."""
        with self.gate.exclusive():
            self.gate.check_usable()
            self._add(jobs)

    def remove(self, job: Job) -> None:
        """Ends a job, from any thread, even while a step is running: then its pages are free after it."""
        job.is_done = True
        self._removed.append(job)
        self.gate.try_now(self._forget_removed)

    def step(self, unless: Callable[[], object] = lambda: False) -> bool:
        """Runs one step of those who are ready; False if nobody is, or if `unless()` once it is this
        thread's turn.

        One job's error ends that job alone. What interrupts a step (KeyboardInterrupt) does no harm: its
        tokens run again in the next one.
        """
        try:
            return self.gate.run(lambda: not unless() and self._step())
        finally:
            if self._removed:  # while it was running: nobody may ask for another step
                self.gate.try_now(self._forget_removed)

    @property
    def has_readers(self) -> bool:
        """Is there a stream that runs no more until somebody has read what has just come? He will soon, and
        shall not wait for a long step."""
        recently = time.perf_counter() - READING_SECONDS
        if not self.gate.is_open:
            return False
        return any(
            job.has_prompt and job.last_run > recently and not job.is_ready for job in self.seating.seated
        )

    def logits_job(self, ids: Ids, positions: NDArray[np.intp], taps: Taps | None = None) -> LogitsJob:
        """A job that runs `ids` (n,) for the logits at `positions` (m,), ascending."""
        return LogitsJob(ids, positions, self.n_outputs, taps)

    def fork(self, job: Job, new: Job) -> None:
        """Takes in a new job with the ids of another, and what is computed of them, if a seat is free."""
        self.gate.run(self._fork, job, new)

    def truncate(self, job: Job, n_tokens: int) -> None:
        """Forgets all tokens of a job from n_tokens on; the last of those that are left runs again."""
        self.gate.run(self._truncate, job, n_tokens)

    def cached(self, ids: Ids, salt: bytes = b"") -> tuple[int, int, Ids]:
        """How many first tokens of `ids` would be taken over; how many are known to the index of prefixes;
        and how what it knows goes on after them."""
        with self.gate.exclusive():
            if (index := self.seating.index) is None:
                return 0, 0, ids[:0]
            return index.find(ids, salt).n_tokens, *index.continuation(ids, salt)

    def stats(self) -> Stats:
        """What it has done and holds; it does not wait for a step, so counts may be those of its middle."""
        self.gate.check_usable()
        seating, jobs = self.seating, list(self._jobs)
        n_running = sum(job.seat is not None for job in jobs)
        n_free, n_cached = seating.n_pages()
        n_pages = sum(pages.n for pages in self.executor.pages)
        return Stats(
            n_running=n_running,
            n_waiting=len(jobs) - n_running,
            n_pages=n_pages,
            n_pages_used=n_pages - n_free - n_cached,
            n_pages_cached=n_cached,
            n_pages_free=n_free,
            n_prefix_queries=seating.n_queried,
            n_prefix_hits=seating.n_found,
            n_preemptions=seating.n_preempted,
            n_drafted=self._speculation.n_drafted,
            n_accepted=self._speculation.n_right,
            n_steps=self._n_steps,
            n_tokens=self._n_tokens,
        )

    def cause_of_nan(self, ids: list[int] | Ids, position: int, taps: Taps | None = None) -> str:
        """Why the output for a position of `ids` is NaN or infinite: ": " and the cause, or "" if none is
        found. Runs the ids again."""
        return self.gate.run(self._cause_of_nan, ids, position, taps)

    def close(self) -> None:
        """Waits for the step in progress and closes the executor; closing twice is fine."""
        self.gate.close(self._close)

    def _add(self, jobs: Sequence[Job]) -> None:
        self._n_arrivals += 1
        for job in jobs:
            job.arrival = self._n_arrivals
            self._jobs.append(job)

    def _fork(self, job: Job, new: Job) -> None:
        self._add([new])
        self.seating.fork(job, new)

    def _step(self) -> bool:
        self._forget_removed()
        self.seating.seat(self._jobs)
        parts = self._parts()
        left = list(parts)
        started = time.perf_counter()
        try:
            before = [self._states_before(part) for part in parts]
            results = self.executor.step([part.piece for part in parts]) if parts else []
            for part, states, result in zip(parts, before, results, strict=True):
                self._take(part, states, result)
                left.remove(part)
        except Exception as error:  # of the step as a whole: the file has changed, no memory is left
            for part in left:
                part.job.fail(error)
        finally:
            for part in left:
                self.seating.unseat(part.job, keeps=False)
                if part.job.is_done:
                    self._forget(part.job)
        self._record(parts, time.perf_counter() - started)
        return bool(parts)

    def _parts(self) -> list[_Part]:
        """What runs in the next step; a job for which there are no pages has lost its seat."""
        ready = [job for job in self.seating.seated if job.is_ready]
        streams = [job for job in ready if job.n_left == 1]
        prompts = [job for job in ready if job.n_left > 1]
        n_room = self.n_batch - len(streams)
        if prompts and (streams or self.has_readers):
            n_room = self._pace.n_prompt_tokens(n_room)
        drafts = {} if prompts else self._speculation.drafts(streams, n_room)
        parts = []
        for job in (*streams, *prompts):
            seat, drafted = job.seat, drafts.get(job, ())
            if seat is None:  # it was taken for the sake of an older job
                continue
            n = 1 if job.n_left == 1 else self._n_at_once(job, seat.n_positions, min(job.n_left, n_room))
            end = seat.n_positions + n + len(drafted)
            if n > 0 and self._has_room(job, seat, end):
                n_room -= n if job.n_left > 1 else 0
                parts.append(_part(job, seat, end, drafted))
        return [part for part in parts if part.job.seat is part.seat]

    def _has_room(self, job: Job, seat: Seat, end: int) -> bool:
        """Makes sure of pages for a job's tokens up to position end - 1; False if there are none for it."""
        try:
            return self.seating.make_room(job, seat, end)
        except NybbleError as error:
            job.fail(error)
            self._forget(job)
            return False

    def _n_at_once(self, job: Job, start: int, n: int) -> int:
        """How many of the next n tokens of a job go into a step."""
        end = start + min(n, job.n_at_once(self.n_outputs) or n)
        if not self.executor.plan.is_causal:
            return n if end == len(job.ids) else 0  # all or none
        if start < job.n_prompt_tokens < end:
            end = job.n_prompt_tokens  # what an edit gets is all prompt, or none of it
        if job.tip is not None and self.executor.n_state_bytes and start < job.last_page < end:
            end = job.last_page  # for the states there, which the index keeps
        return end - start

    def _states_before(self, part: _Part) -> States | None:
        """What a seat's states are to be again if a token drafted for it is wrong; None if they can go back
        by themselves."""
        executor, seat, start = self.executor, part.seat.number, part.piece.start
        if not part.drafted or executor.can_go_back(seat, part.end, start + 1):
            return None
        return executor.states_of(seat)

    def _take(self, part: _Part, before: States | None, result: StepRows | Exception) -> None:
        """Gives a job what has been computed for it."""
        job, seat = part.job, part.seat
        seat.n_positions = part.end
        try:
            if isinstance(result, Exception):
                if part.drafted and isinstance(job, DraftingJob):
                    self._run_without_drafts(job)
                    return
                raise result
            positions = part.piece.start + part.piece.rows
            unsound = np.flatnonzero(~result.are_sound)
            if len(unsound) and not (part.drafted and unsound[0] > 0):
                raise self._unsound(part, int(positions[unsound[0]]))
            if not job.is_done:  # by `remove`, while the step was running
                if part.drafted and isinstance(job, DraftingJob):
                    n_right = job.verify(part.drafted, result.values[: unsound[0] if len(unsound) else None])
                    self._go_back(part, before, n_right)
                else:
                    job.take(part.end, positions, result.values)
                self.seating.keep(job)
                job.has_prompt = job.has_prompt or part.end >= job.n_prompt_tokens
        except Exception as error:
            job.fail(error)
        if job.is_done:
            self._forget(job)

    def _run_without_drafts(self, job: DraftingJob) -> None:
        """After an edit has raised something, perhaps for a drafted token that is not to come."""
        job.make_drafter = None
        if job.drafter is not None:
            job.drafter.end()
            job.drafter = None
        self.seating.unseat(job, keeps=False)

    def _go_back(self, part: _Part, before: States | None, n_right: int) -> None:
        """Lets a seat forget the drafted tokens after the first n_right. Where states cannot go back, the
        right ones run once more."""
        n_kept = part.end - len(part.drafted) + n_right
        if before is None or n_kept == part.end:
            part.seat.truncate(n_kept)
            self._speculation.verified(part.job, n_right)
        else:
            part.seat.restore(part.piece.start, before)
            self._speculation.verified(part.job, n_right, n_kept - part.piece.start)

    def _unsound(self, part: _Part, position: int) -> NybbleError:
        """The error for logits that cannot be sampled from."""
        taps = part.job.taps
        cause = diagnose(part.seat, part.job.ids, position, taps)
        where = f"at position {position}{cause and f': {cause}'}"
        if taps is not None and taps.has_edits:
            return RequestError(f"with these edits the logits are NaN or infinite {where}")
        return ModelError(f"the model produced NaN or infinite logits {where}")

    def _record(self, parts: Sequence[_Part], seconds: float) -> None:
        n_drafted = sum(len(part.drafted) for part in parts)
        n_streams = sum(len(part.piece.ids) == 1 for part in parts)
        n_tokens = sum(len(part.piece.ids) for part in parts)
        self._n_steps += bool(parts)
        self._n_tokens += n_tokens
        own_seconds = seconds - (self.executor.waited_seconds if parts else 0.0)  # what the tokens have cost
        if n_drafted or n_tokens == n_streams:
            self._speculation.record(own_seconds)
        if not n_drafted:
            self._pace.record(n_streams, n_tokens - n_streams, own_seconds)
        self.last_step_end, self.step_seconds = time.perf_counter(), seconds
        for part in parts:
            part.job.last_run = self.last_step_end
            part.job.spend(seconds)

    def _forget_removed(self) -> None:
        while self._removed:
            self._forget(self._removed.popleft())

    def _forget(self, job: Job) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
            self.seating.unseat(job, keeps=job.error is None)
            if isinstance(job, DraftingJob) and job.drafter is not None:
                job.drafter.end()

    def _truncate(self, job: Job, n_tokens: int) -> None:
        del job.ids[n_tokens:]
        self.seating.truncate(job, n_tokens - 1)

    def _cause_of_nan(self, ids: list[int] | Ids, position: int, taps: Taps | None) -> str:
        seat = self.seating.free_seat()
        try:
            cause = diagnose(seat, ids, position, taps)
        finally:
            self.seating.seats.give_back(seat)
        return cause and f": {cause}"

    def _close(self) -> None:
        self._jobs = []
        self.seating.close()
        self.executor.close()
        del self.executor, self.seating  # frees weights and caches, even if somebody keeps this


def _part(job: Job, seat: Seat, end: int, drafted: Sequence[int]) -> _Part:
    start = seat.n_positions
    ids = np.array([*job.ids[start:end], *drafted], np.int32)
    rows = np.arange(len(ids)) if drafted else job.wanted(start, end) - start
    return _Part(job, seat, end, Piece(seat.number, start, ids, rows, job.taps), drafted)
