"""The temperature, fixed or dynamic."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .logits import Logits

_COLDEST = 1e-6
"""Lower temperatures count as this one, where float32 logits that differ at all are already certain winners
or losers."""


class Temperature:
    """Divides the logits by a temperature; at 0 only the first of the largest ones is left.

    With `range` the temperature follows the entropy H of the m candidates: it is t - range, or 0, at H = 0,
    t + range at the largest possible H, ln m, and in between it grows as (H / ln m) ** exponent.
    """

    def __init__(self, temperature: float, range: float = 0.0, exponent: float = 1.0) -> None:
        self.temperature, self.range, self.exponent = temperature, range, exponent

    def __call__(self, logits: Logits, ids: Sequence[int]) -> None:
        temperature = self.temperature if self.range == 0 else self._dynamic(logits)
        if temperature == 0:
            best = int(logits.values.argmax())
            logits.keep(np.arange(best, best + 1))
        elif temperature != 1:
            # Relative to the largest, or they might become infinite.
            values = logits.values
            with np.errstate(over="ignore"):
                values -= values.max()
                values *= np.float32(1 / max(temperature, _COLDEST))

    def _dynamic(self, logits: Logits) -> float:
        n_left = np.count_nonzero(logits.values > -np.inf)
        if n_left < 2:
            return self.temperature
        low, high = max(0.0, self.temperature - self.range), self.temperature + self.range
        return low + (high - low) * min(1.0, logits.entropy() / math.log(n_left)) ** self.exponent
