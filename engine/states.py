"""What a layer remembers between calls: a spec for the plan, and the state itself in NumPy float32.

There is one state per layer, of whatever kind the layer needs; keys and values are the only kind so far.
What resets or shortens a sequence speaks to this interface, never to "K and V":

    n_positions          positions 0 .. n_positions - 1 have gone in
    can_truncate(n)      can the state go back to n positions?  (n = 0: always)
    truncate(n)          forgets the positions from n on; reset() forgets all
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KVSpec:
    """Keys and values of an attention layer; window 0 keeps all, w > 0 those less than w positions back."""

    n_kv_heads: int
    head_dim: int
    window: int = 0


class KVState:
    """Keys and values (m, n_kv_heads, head_dim) float32 of the last m of `n_positions` positions.

    A sliding window lets go of old positions when new ones come in: it keeps what the first of the new ones
    can see, so a chunk of any size finds all it needs, and truncating within the last chunk always works.
    """

    def __init__(self, spec: KVSpec) -> None:
        self.spec = spec
        self.reset()

    @property
    def positions(self) -> NDArray[np.int64]:
        """(m,): the positions of the rows of `keys` and `values`."""
        return np.arange(self.n_positions - len(self.keys), self.n_positions)

    def reset(self) -> None:
        self.n_positions = 0
        self.keys = np.empty((0, self.spec.n_kv_heads, self.spec.head_dim), np.float32)
        self.values = self.keys

    def append(self, k: NDArray[np.float32], v: NDArray[np.float32], start: int) -> None:
        """Adds k, v (n, n_kv_heads, head_dim) at the positions from `start` on, which must come next."""
        if start != self.n_positions:
            raise ValueError(f"position {start} cannot follow {self.n_positions} positions")
        kept = self._seen_from(start)
        first = len(self.keys) - kept
        self.keys = np.concatenate([self.keys[first:], k])
        self.values = np.concatenate([self.values[first:], v])
        self.n_positions += len(k)

    def can_truncate(self, n_positions: int) -> bool:
        if not 0 < n_positions < self.n_positions:
            return n_positions in (0, self.n_positions)
        held = len(self.keys) - (self.n_positions - n_positions)  # of the positions that would be left
        return held >= self._seen_from(n_positions)

    def truncate(self, n_positions: int) -> None:
        if not self.can_truncate(n_positions):
            raise ValueError(f"a state of {self.n_positions} positions cannot go back to {n_positions}")
        left = max(0, len(self.keys) - (self.n_positions - n_positions))
        self.keys, self.values, self.n_positions = self.keys[:left], self.values[:left], n_positions

    def _seen_from(self, position: int) -> int:
        """How many of the positions before it a query at `position` can see."""
        return min(position, self.spec.window - 1) if self.spec.window else position
