"""What a step costs, by the number of its rows, as measured."""

from collections import deque
from itertools import pairwise
from statistics import median_low

_N_KEPT = 9
_N_NEEDED = 2
_MAX_AGE = 256


class StepSeconds:
    """The seconds of recent steps, by their number of rows: the median of the last 9.

    A number that was measured once only is not known yet, for whatever else the machine did may be in it.
    What was not measured again within 256 steps is forgotten.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}
        self._known: dict[int, float] = {}
        self._last: dict[int, int] = {}  # number of rows -> the last step that had it, ascending
        self._n_steps = 0

    def record(self, n_rows: int, seconds: float) -> None:
        """Tells the seconds of a step."""
        self._n_steps += 1
        self._last.pop(n_rows, None)
        self._last[n_rows] = self._n_steps
        recent = self._seconds.setdefault(n_rows, deque(maxlen=_N_KEPT))
        recent.append(seconds)
        if len(recent) >= _N_NEEDED:
            self._known[n_rows] = median_low(recent)
        oldest = next(iter(self._last))
        if self._n_steps - self._last[oldest] >= _MAX_AGE:
            del self._last[oldest], self._seconds[oldest]
            self._known.pop(oldest, None)

    def of(self, n_rows: int) -> float | None:
        """The seconds of a step of so many rows; None if they are not known."""
        return self._known.get(n_rows)

    def estimates(self, n_rows: int, n_more: int) -> list[float]:
        """The seconds of steps of n_rows, n_rows + 1 … up to n_rows + n_more rows, as far as can be said;
        nothing if those of `n_rows` are not known.

        None is below those of `n_rows`, though more rows may take less (8 fill a tile of the matrix product).
        Between two known numbers they lie on a line. What is above the largest known, up to twice that, may
        cost no more: so it is tried if it promises something.
        """
        if n_rows not in self._known:
            return []
        known = sorted(n for n in self._known if n >= n_rows)
        found = [self._known[n_rows]]
        for low, high in pairwise(known):
            start, end, n = found[-1], max(found[0], self._known[high]), high - low
            found += [start + (end - start) * i / n for i in range(1, n + 1)]
        found += found[-1:] * known[-1]
        return found[: n_more + 1]
