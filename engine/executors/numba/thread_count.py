"""How a team of threads shares cores with other processes."""

from __future__ import annotations

import math

_WINDOW = 0.05  # seconds of work that one look takes
_LATE = 0.1  # share of the time spent waiting for late threads that tells of company
_HARM = 0.85  # of the speed without company: what late threads may cost before spinning is given up
_BETTER = 1.05
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0  # seconds of work between trials


class ThreadCount:
    """All threads, which spin while they wait, as long as they have their cores to themselves. In company
    they hardly spin, and their number is what does most work: from time to time one more or one fewer is
    tried, and whether the company is still there. Company that costs little is put up with: a host that
    takes a core of its virtual machine away now and then."""

    def __init__(self, n_max: int) -> None:
        self.n = n_max
        self.spins = True
        self.n_max = n_max
        self._n_kept = n_max  # in company
        self._rate_to_beat = math.inf  # by threads that spin and are late
        self._rate_kept: float | None = None  # what `_n_kept` does, while another number is tried
        self._n_trials = 0
        self._pause = _FIRST_PAUSE
        self._until_trial = 0.0
        self._work = self._seconds = self._waited = 0.0

    def record(self, work: float, seconds: float, waited: float) -> None:
        """Some work, of any unit, has been done by `n` threads in so many seconds; together they have waited
        so many for late ones."""
        self._work += work
        self._seconds += seconds
        self._waited += waited
        if self._seconds >= _WINDOW and self.n_max > 1:
            rate, late = self._work / self._seconds, self._waited / self._seconds
            self._until_trial -= self._seconds
            self._work = self._seconds = self._waited = 0.0
            if self.spins:
                self._look_for_company(rate, late)
            else:
                self._choose(rate)

    def _look_for_company(self, rate: float, late: float) -> None:
        if late <= _LATE:
            self._n_kept, self._pause, self._n_trials = self.n_max, _FIRST_PAUSE, 0
            self._rate_to_beat = _HARM * rate
        elif rate < self._rate_to_beat:
            self.spins, self.n = False, self._n_kept
            self._until_trial = self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _choose(self, rate: float) -> None:
        if self._rate_kept is not None:
            if rate > self._rate_kept * _BETTER:
                self._n_kept = self.n
            self.n, self._rate_kept = self._n_kept, None
            self._until_trial = self._pause / 2
            return
        self._rate_to_beat = rate
        if self._until_trial <= 0:
            self._n_trials += 1
            if self._n_trials % 2:  # most company does not stay
                self.spins, self.n = True, self.n_max
            else:
                fewer = self.n > 1 and (self.n == self.n_max or self._n_trials % 4 == 2)
                self._rate_kept = rate
                self.n += -1 if fewer else 1
