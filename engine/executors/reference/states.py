"""The states of layers in NumPy float32: keys and values, or what a recurrence carries on."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...plan.states import KVSpec, RecurrentSpec, StateSpec


class State(Protocol):
    """What a layer remembers of the positions 0 .. n_positions - 1 that have gone in."""

    n_positions: int

    def reset(self) -> None:
        """Forgets all positions."""

    def can_truncate(self, n_positions: int) -> bool:
        """Can the state go back to so many positions?  To 0: always."""

    def truncate(self, n_positions: int) -> None:
        """Forgets the positions from `n_positions` on; ValueError if it cannot."""


def make_state(spec: StateSpec) -> State:
    """An empty state of the kind that `spec` describes."""
    return KVState(spec) if isinstance(spec, KVSpec) else RecurrentState(spec)


class KVState:
    """Keys and values (m, n_kv_heads, head_dim or value_dim) float32 of the last m positions.

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
        self.values = np.empty(
            (0, self.spec.n_kv_heads, self.spec.value_dim or self.spec.head_dim), np.float32
        )

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


class RecurrentState:
    """`value`, float32 in the shape of the spec, after `n_positions` positions; the only way back is to 0."""

    def __init__(self, spec: RecurrentSpec) -> None:
        self.spec = spec
        self.reset()

    def reset(self) -> None:
        self.n_positions = 0
        self.value = np.zeros(self.spec.shape, np.float32)

    def advance(self, value: NDArray[np.float32], n: int) -> None:
        """Takes over `value`, the state after n more positions."""
        if value.shape != self.spec.shape:
            raise ValueError(f"a state of shape {self.spec.shape} cannot become {value.shape}")
        self.value, self.n_positions = value, self.n_positions + n

    def can_truncate(self, n_positions: int) -> bool:
        return n_positions in (0, self.n_positions)

    def truncate(self, n_positions: int) -> None:
        if not self.can_truncate(n_positions):
            raise ValueError(f"a state of {self.n_positions} positions cannot go back to {n_positions}")
        if n_positions == 0:
            self.reset()
