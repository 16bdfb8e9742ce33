"""How often the drafted tokens of a text are right."""

_P_AT_FIRST, _N_AT_FIRST = 0.25, 2.0
_DECAY = 0.9
_FADING = 1 / 64


class Acceptance:
    """What became of one text's drafts.

    `p` is the probability that a drafted token is right if those before it in its draft are: a mean over the
    recent ones, in which each counts 0.9 times the next. It starts at 1/4, and goes back to that while
    nothing is drafted.
    """

    def __init__(self) -> None:
        self.p = _P_AT_FIRST
        self._n_seen = _N_AT_FIRST

    def record(self, n_drafted: int, n_right: int) -> None:
        """Tells of a step: how many tokens were drafted, and how many of them, from the first on, were
        right. Those after a wrong one say nothing."""
        for i in range(min(n_right + 1, n_drafted)):
            n_before = _DECAY * self._n_seen
            self._n_seen = n_before + 1
            self.p += ((i < n_right) - self.p) / self._n_seen
        if not n_drafted:
            self.p += _FADING * (_P_AT_FIRST - self.p)
            self._n_seen += _FADING * (_N_AT_FIRST - self._n_seen)
