"""The states of layers in NumPy float32: keys and values, or what a recurrence carries on."""

from abc import ABC, abstractmethod

import numpy as np

from ...plan.states import KVSpec, RecurrentSpec, StateSpec
from ..base import Array


class State(ABC):
    """What a layer remembers of the positions that have gone in. Unless a class says otherwise, the only way
    back is to the start."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets all positions, also those of a step that was left halfway."""

    def can_go_back(self, n_before: int, n_after: int) -> bool:
        """Can it go back from n_before positions to n_after, which are fewer and at least one?"""
        return False

    def go_back(self, n_before: int, n_after: int) -> None:  # noqa: B027 (often nothing needs to be done)
        """Forgets the positions from n_after on, which `can_go_back` allows."""


def make_state(spec: StateSpec) -> State:
    """An empty state of the kind that `spec` describes."""
    return KVState(spec) if isinstance(spec, KVSpec) else RecurrentState(spec)


class KVState(State):
    """Keys and values (m, n_kv_heads, head_dim or value_dim) float32 of the last m positions.

    A sliding window lets go of old positions when new ones come in: it keeps what the first of the new ones
    can see, so a chunk of any size finds all it needs, and truncating within the last chunk always works.
    """

    def __init__(self, spec: KVSpec) -> None:
        self.spec = spec
        self.reset()

    def reset(self) -> None:
        self.keys = np.empty((0, self.spec.n_kv_heads, self.spec.head_dim), np.float32)
        self.values = np.empty(
            (0, self.spec.n_kv_heads, self.spec.value_dim or self.spec.head_dim), np.float32
        )

    def append(self, k: Array, v: Array, start: int) -> None:
        """Adds k, v (n, n_kv_heads, head_dim) at the positions from `start` on, which come next."""
        first = len(self.keys) - self._seen_from(start)
        self.keys = np.concatenate([self.keys[first:], k])
        self.values = np.concatenate([self.values[first:], v])

    def can_go_back(self, n_before: int, n_after: int) -> bool:
        held = len(self.keys) - (n_before - n_after)  # of the positions that would be left
        return held >= self._seen_from(n_after)

    def go_back(self, n_before: int, n_after: int) -> None:
        left = len(self.keys) - (n_before - n_after)
        self.keys, self.values = self.keys[:left], self.values[:left]

    def _seen_from(self, position: int) -> int:
        """How many of the positions before it a query at `position` can see."""
        return min(position, self.spec.window - 1) if self.spec.window else position


class RecurrentState(State):
    """`value`: float32 in the shape of the spec."""

    def __init__(self, spec: RecurrentSpec) -> None:
        self.spec = spec
        self.reset()

    def reset(self) -> None:
        self.value = np.zeros(self.spec.shape, np.float32)
