"""How many tokens to draft for each text of the next step, by what drafting has brought so far.

A step runs a row for each text, and one more for each drafted token. If p is the probability that a drafted
token is right when those before it are, the j-th one of a text brings p**j tokens. What is wanted has the
most tokens for a second:

    (m + sum of p_i**j) / (C(m + n) + n d)

m are the texts, n the drafted tokens, C(rows) the seconds of a step, d those to draft a token. For each n the
most probable tokens count, so it is enough to try one n after the other.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from statistics import median_low

from .acceptance import Acceptance
from .step_seconds import StepSeconds

_LEAST_GAIN = 1.04
_SHARE = 1 / 64
_LEAST_PRICE = 0.1  # tokens: of less the measured seconds say nothing


class DraftLengths:
    """Chooses how many tokens to draft, for all texts that run together; it is told what became of them.

    Where the best choice would not gain 4 %, nothing is drafted, but for trials: 1/64 of the time may be lost
    in them. A trial whose tokens are right costs nothing, so the next one follows at once.
    """

    def __init__(self) -> None:
        self._step_seconds = StepSeconds()
        self._draft_seconds: deque[float] = deque(maxlen=9)  # for a token
        self._is_trial = False
        self._credit = 0.0  # tokens in whose time without drafts trials may be lost

    def choose(self, n_rows: int, texts: Sequence[tuple[Acceptance, int]]) -> list[int]:
        """How many tokens to draft for each of `texts`, given how its drafts fared and how many there may be
        at the most. `n_rows`: the rows of the next step without drafts, one for each text, these and others.
        """
        estimates = self._step_seconds.estimates(n_rows, sum(n_max for _, n_max in texts))
        d = self._seconds_to_draft()
        tokens, order = float(n_rows), []
        n_best, best_rate = 0, 0.0
        for (text, probability), seconds in zip(_most_probable(texts), estimates[1:], strict=False):
            order.append(text)
            tokens += probability
            rate = tokens / (seconds + len(order) * d)
            if rate > best_rate:
                n_best, best_rate = len(order), rate
        self._is_trial = n_best > 0 and best_rate * estimates[0] < _LEAST_GAIN * n_rows
        if self._is_trial and self._credit < 0:
            n_best = 0
        lengths = [0] * len(texts)
        for text in order[:n_best]:
            lengths[text] += 1
        return lengths

    def record(
        self,
        n_rows: int,
        n_drafted: int,
        n_right: int,
        seconds: float,
        draft_seconds: float = 0.0,
        n_again: int = 0,
    ) -> None:
        """Tells of the step for which `choose` was asked last: its rows without drafts, how many tokens were
        drafted for all texts, perhaps fewer than chosen, how many of them were right, the seconds of the
        step, and before it of drafting; and how many tokens run once more in the next step because of wrong
        drafts, which costs what more rows cost.

        Leave out steps with pieces of prompts, whose rows cost less.
        """
        if n_again and (estimates := self._step_seconds.estimates(n_rows, n_again)):
            seconds += estimates[-1] - estimates[0]
        self._step_seconds.record(n_rows + n_drafted, seconds)
        if n_drafted:
            self._draft_seconds.append(draft_seconds / n_drafted)
        plain = self._step_seconds.of(n_rows)
        if plain is None:
            return
        if n_drafted and self._is_trial:
            known = self._step_seconds.of(n_rows + n_drafted)
            more = (seconds if known is None else known) - plain + n_drafted * self._seconds_to_draft()
            self._credit -= max(more / plain * n_rows, _LEAST_PRICE) - n_right
        self._credit = min(self._credit + _SHARE * n_rows, 1.0)

    def _seconds_to_draft(self) -> float:
        """The median for a token; 0 after the first time, when a draft model has also run the prompt."""
        return median_low(self._draft_seconds) if len(self._draft_seconds) > 1 else 0.0


def _most_probable(texts: Sequence[tuple[Acceptance, int]]) -> Iterator[tuple[int, float]]:
    """The tokens that may be drafted, the most probable first: number of the text, and probability."""
    heap = [(-acceptance.p, text, 1) for text, (acceptance, n_max) in enumerate(texts) if n_max]
    heapify(heap)
    while heap:
        negative, text, n = heap[0]
        yield text, -negative
        acceptance, n_max = texts[text]
        if n < n_max:
            heapreplace(heap, (negative * acceptance.p, text, n + 1))
        else:
            heappop(heap)
