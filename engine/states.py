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
    """Keys and values (m, n_kv_heads, head_dim) float32 of `positions` (m,) int64, without gaps.

    A sliding window lets go of old positions when new ones come in: it keeps what the first of the new ones
    can see, so a chunk of any size finds all it needs, and truncating within the last chunk always works.
    """

    def __init__(self, spec: KVSpec) -> None:
        self.spec = spec
        self.reset()

    @property
    def n_positions(self) -> int:
        return int(self.positions[-1]) + 1 if len(self.positions) else 0

    def reset(self) -> None:
        self.keys = np.empty((0, self.spec.n_kv_heads, self.spec.head_dim), np.float32)
        self.values = self.keys
        self.positions = np.empty(0, np.int64)

    def append(self, k: NDArray[np.float32], v: NDArray[np.float32], start: int) -> None:
        """Adds k, v (n, n_kv_heads, head_dim) at the positions from `start` on, which must come next."""
        if start != self.n_positions:
            raise ValueError(f"position {start} cannot follow {self.n_positions} positions")
        first = 0
        if self.spec.window:
            first = int(np.searchsorted(self.positions, start - self.spec.window, side="right"))
        self.keys = np.concatenate([self.keys[first:], k])
        self.values = np.concatenate([self.values[first:], v])
        self.positions = np.concatenate([self.positions[first:], np.arange(start, start + len(k))])

    def can_truncate(self, n_positions: int) -> bool:
        if n_positions == 0 or n_positions >= self.n_positions:
            return 0 <= n_positions <= self.n_positions
        oldest_seen = max(0, n_positions - self.spec.window + 1) if self.spec.window else 0
        return n_positions > 0 and int(self.positions[0]) <= oldest_seen

    def truncate(self, n_positions: int) -> None:
        if not self.can_truncate(n_positions):
            raise ValueError(f"a state of {self.n_positions} positions cannot go back to {n_positions}")
        kept = int(np.searchsorted(self.positions, n_positions))
        self.keys, self.values, self.positions = self.keys[:kept], self.values[:kept], self.positions[:kept]
