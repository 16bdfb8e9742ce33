"""Which jobs have seats and pages, and who gets the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import NybbleError
from ..executors.base import Executor
from .job import Job, common_tokens
from .pages import PagePool
from .prefix import PAGE_SIZE, Prefix
from .prefix_index import PrefixIndex
from .seat import Seat
from .seats import Seats


class Seating:
    """Gives jobs seats, with what the index of prefixes has of their tokens, and takes them: from those that
    have nothing to run when others need them, and from the youngest when pages run out. What it takes from a
    job goes to the index, and the job gets a seat again.

    `seated`: the jobs with seats, in the order in which they got them. `n_queried`: tokens that were looked
    up in the index, of which `n_found` were computed; `n_preempted`: how often it has taken the seat of a job
    that had something to run.
    """

    def __init__(self, executor: Executor) -> None:
        self.seats = Seats(executor)
        self.index = PrefixIndex(executor, self.seats.pools) if executor.can_share else None
        self.seated: list[Job] = []
        self.n_queried = self.n_found = self.n_preempted = 0
        self._n_batch = executor.n_batch
        self._has_states = executor.n_state_bytes > 0

    def seat(self, jobs: Sequence[Job]) -> None:
        """Gives seats to those of `jobs`, which stand in the order in which they came, that have none and are
        ready, as long as there are seats, and pages for their tokens."""
        if not self.seats.n_free and not self._idle():
            return
        waiting = [job for job in jobs if job.seat is None and job.is_ready]
        while waiting and (self.seats.n_free or self._idle()):
            job = self._next_of(waiting)
            if job is None or not self._seat(job):
                return
            waiting.remove(job)

    def unseat(self, job: Job, keeps: bool = True) -> None:
        """Takes a job's seat, if it has one. `keeps`: what it has computed goes to the index."""
        if job.seat is None:
            return
        seat, tip = job.seat, job.tip
        job.seat = job.tip = None
        self.seated.remove(job)
        if tip is not None and self.index is not None:
            if keeps:
                self.index.leave(tip, job.ids, seat)
            else:
                self.index.abandon(tip)
        self.seats.give_back(seat)

    def free_seat(self) -> Seat:
        """A seat that no job has: that of an idle job, or the youngest's, if all are taken."""
        if not self.seats.n_free:
            self._unseat_one()
        return self.seats.take()

    def make_room(self, job: Job, seat: Seat, end: int) -> bool:
        """Makes sure of pages for a job's tokens up to position end - 1, even if others, idle or younger,
        lose their seats; False if the job itself has lost its own. NybbleError if there are too few even for
        it alone."""
        while job.seat is seat:
            try:
                seat.make_room(end)
                return True
            except NybbleError:
                if len(self.seated) == 1:
                    raise
                self._unseat_one()
        return False

    def take_page(self, pool: PagePool) -> int:
        """A free page, even if jobs, the idle and the youngest first, lose their seats; NybbleError if there
        is none even then."""
        while True:
            try:
                return pool.take()
            except NybbleError:
                if not self.seated:
                    raise
                self._unseat_one()

    def keep(self, job: Job) -> None:
        """Lets the index have the pages that a job has filled."""
        if job.tip is not None and job.seat is not None and self.index is not None:
            job.tip = self.index.keep(job.tip, job.ids, job.seat)
            if not job.has_prompt and job.seat.n_positions >= job.n_prompt_tokens:
                self.index.pin(job.tip)

    def fork(self, job: Job, new: Job) -> None:
        """Gives a new job with the ids of another what that one's seat holds, if a seat is free."""
        if job.seat is not None and self.seats.n_free:
            new.seat, new.tip, new.has_begun = self.seats.fork(job.seat), job.tip, True
            if new.tip is not None:
                new.tip.n_seats += 1
            self.seated.append(new)

    def truncate(self, job: Job, n_tokens: int) -> None:
        """Lets a job's seat forget all tokens from n_tokens on; takes it, if its states cannot."""
        if job.seat is None or job.seat.n_positions <= n_tokens:
            return
        if job.seat.can_go_back(n_tokens):
            job.seat.truncate(n_tokens)
            if job.tip is not None and self.index is not None:
                job.tip = self.index.retreat(job.tip, n_tokens)
        else:
            self.unseat(job, keeps=False)

    def n_pages(self) -> tuple[int, int]:
        """How many pages nobody uses, and how many nobody but the index."""
        pools, index = self.seats.pools, self.index
        n_cached = sum(index.n_reclaimable(pool) for pool in pools) if index else 0
        return sum(pool.n_free for pool in pools), n_cached

    def close(self) -> None:
        """Lets go of the executor."""
        for job in self.seated:
            job.seat = job.tip = None
        self.seated, self.index = [], None
        for pool in self.seats.pools:
            pool.reclaim = lambda: False  # the index that it belongs to has the executor

    def _unseat_one(self) -> None:
        """Takes the seat of an idle job, or else of the youngest."""
        job = (self._idle() or self.seated)[-1]
        self.n_preempted += job.is_ready
        self.unseat(job)

    def _idle(self) -> list[Job]:
        """Those who have seats and do not need them now."""
        return [job for job in self.seated if not job.is_ready]

    def _next_of(self, waiting: list[Job]) -> Job | None:
        """The first that need not wait for a prefix in the making; of those that came together the one with
        the longest that is there."""
        able = (job for job in waiting if not self._is_in_the_making(job))
        first = next(able, None)
        if first is None:
            return None
        together = [first, *(job for job in able if job.arrival == first.arrival)]
        return max(together, key=self._n_cached) if len(together) > 1 else first

    def _n_cached(self, job: Job) -> int:
        """How many tokens a job would find computed."""
        prefix = self._prefix(job)
        return 0 if prefix is None else prefix.n_tokens

    def _prefix(self, job: Job) -> Prefix | None:
        """What a job would find computed, if it shares anything."""
        if self.index is None or job.salt is None:
            return None
        return self.index.longest(np.asarray(job.ids[: job.n_shareable], np.int32), job.salt)

    def _is_in_the_making(self, job: Job) -> bool:
        """Is another job computing a page that this one needs, too, and cannot take over yet?"""
        if self.index is None or job.salt is None:
            return False
        for other in self.seated:
            if other.salt == job.salt and other.is_ready and other.n_left > 1 and other.seat is not None:
                n = min(common_tokens(job.ids, other.ids), job.n_shareable) // PAGE_SIZE * PAGE_SIZE
                if self._has_states:  # the other one leaves its states there alone
                    n = other.last_page if n >= other.last_page else 0
                if n > other.seat.n_positions:
                    return True
        return False

    def _seat(self, job: Job) -> bool:
        """Gives a job a seat, and what is computed of its tokens; False if too few pages are free."""
        while self.seated and not self._has_pages(len(job.ids) + 1):
            if not (idle := self._idle()):
                return False
            self.unseat(idle[-1])
        job.seat = self.free_seat()
        self.seated.append(job)
        if self.index is not None and (prefix := self._prefix(job)) is not None:
            job.tip = self.index.enter(prefix, job.seat)
            if not job.has_begun:
                job.n_cached_tokens = prefix.n_tokens
                self.n_queried += len(job.ids)
                self.n_found += prefix.n_tokens
        job.has_begun = True
        return True

    def _has_pages(self, n_positions: int) -> bool:
        """Are there pages for a sequence, if the index lets go of what nobody uses?"""
        for pool in self.seats.pools:
            window = pool.pages.window
            n_seen = min(n_positions, window + self._n_batch) if window else n_positions
            n_free = pool.n_free + (self.index.n_reclaimable(pool) if self.index else 0)
            if len(pool.blocks(0, n_seen)) > n_free:
                return False
        return True
