"""Finds out that a text goes round in circles."""

from __future__ import annotations

import numpy as np

_N_TIMES = 4


class RepetitionDetector:
    """Is told the tokens of a text, and says when the last `n_tokens` of them are one pattern, four times or
    more over, the last time perhaps not to its end."""

    def __init__(self, n_tokens: int) -> None:
        n_periods = n_tokens // _N_TIMES
        self._n_equal = np.zeros(n_periods, np.int64)
        """For each period p, from 1 on: how many tokens until now were that of p places before."""
        self._n_needed = n_tokens - np.arange(1, n_periods + 1)
        self._last = np.full(n_periods, -1, np.int64)  # the last tokens, the latest first

    def push(self, token_id: int) -> bool:
        """Is the text repeating itself after this token?"""
        self._n_equal = np.where(self._last == token_id, self._n_equal + 1, 0)
        self._last = np.concatenate([[token_id], self._last[:-1]])
        return bool((self._n_equal >= self._n_needed).any())
