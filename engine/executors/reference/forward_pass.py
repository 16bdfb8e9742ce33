"""What operations need besides their inputs, while some tokens go through a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ....gguf_io.tensor import Tensor
from ..base import Array, Ids, Positions, RowNumbers
from .states import KVState, RecurrentState, State


@dataclass(frozen=True)
class ForwardPass:
    """Of n tokens; each operation uses a part of it."""

    ids: Ids  # (n,)
    positions: Positions  # (n,)
    rows: RowNumbers  # those whose logits are wanted
    angles: dict[str, tuple[Array, Array]]  # of each rope table: cosine and sine (n, n_rot / 2)
    states: list[State]
    values: Callable[[Tensor], Array]  # a weight in float32

    @property
    def n_positions(self) -> int:
        """How many there are once the tokens have gone in."""
        return int(self.positions[-1]) + 1

    def optional(self, weight: Tensor | None) -> Array | None:
        return None if weight is None else self.values(weight)

    def keys_and_values(self, number: int) -> KVState:
        state = self.states[number]
        if not isinstance(state, KVState):
            raise TypeError(f"state {number} of the plan does not hold keys and values")
        return state

    def recurrent(self, number: int) -> RecurrentState:
        state = self.states[number]
        if not isinstance(state, RecurrentState):
            raise TypeError(f"state {number} of the plan is not recurrent")
        return state
