"""Drafted tokens in the steps of the scheduler."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ..speculation.draft_lengths import DraftLengths
from ..speculation.drafter import Drafter
from .job import DraftingJob, Job


class Speculation:
    """Chooses what is drafted for the jobs of a step, and learns what it brings."""

    def __init__(self) -> None:
        self.n_drafted = self.n_right = 0
        """Of all steps together."""
        self._lengths = DraftLengths()
        self._n_rows = 0  # of the step that comes, or is running, without drafts
        self._drafters: dict[DraftingJob, Drafter] = {}  # of its jobs
        self._drafted: dict[Job, list[int]] = {}
        self._n_right: dict[Job, int] = {}
        self._n_again = 0  # tokens that run once more, since states have gone back
        self._seconds = 0.0  # for drafting

    def drafts(self, streams: Sequence[Job], n_room: int) -> Mapping[Job, list[int]]:
        """What is drafted after the last tokens of `streams`, which are all that run: up to n_room tokens."""
        drafting = [job for job in streams if isinstance(job, DraftingJob)]
        self._drafters = {job: drafter for job in drafting if (drafter := self._drafter(job))}
        self._n_rows, self._drafted, self._n_right, self._n_again = len(streams), {}, {}, 0
        if not self._drafters:
            return {}
        texts = [(drafter.acceptance, job.n_draftable) for job, drafter in self._drafters.items()]
        started = time.perf_counter()
        lengths = self._lengths.choose(len(streams), texts)
        for (job, drafter), n in zip(self._drafters.items(), lengths, strict=True):
            if (n := min(n, n_room)) > 0 and (ids := drafter.propose(job.ids, n)):
                self._drafted[job] = ids
                n_room -= len(ids)
        self._seconds = time.perf_counter() - started
        return self._drafted

    def verified(self, job: Job, n_right: int, n_again: int = 0) -> None:
        """So many of the tokens drafted for a job were right; n_again tokens run once more in its next step,
        before the one that would have run anyway."""
        self._n_right[job] = n_right
        self._n_again += n_again

    def record(self, seconds: float) -> None:
        """The step for which `drafts` was asked last has taken so long."""
        if self._drafters:
            for job, drafter in self._drafters.items():
                drafter.acceptance.record(len(self._drafted.get(job, ())), self._n_right.get(job, 0))
            n_drafted, n_right = sum(map(len, self._drafted.values())), sum(self._n_right.values())
            self.n_drafted += n_drafted
            self.n_right += n_right
            self._lengths.record(self._n_rows, n_drafted, n_right, seconds, self._seconds, self._n_again)

    def _drafter(self, job: DraftingJob) -> Drafter | None:
        """A job's drafter, if it can have one and drafts are of use."""
        if job.make_drafter is None or job.n_draftable < 1:
            return None
        if job.taps is not None and len(job.ids) == job.n_prompt_tokens:
            return None  # what an edit gets is all prompt, or none of it
        if job.drafter is None:
            job.drafter = job.make_drafter()
        return job.drafter
