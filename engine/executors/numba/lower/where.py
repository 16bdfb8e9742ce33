"""Where the operations of a plan work: the memory that their steps read and write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .....kernels.language.checks import Array, Count
from .....kernels.linear.mapped import tiles_bytes
from .....kernels.linear.packed_product import working_memory
from ....plan.plan import Plan
from ..storage.caches import Cache, KVCache, RecurrentCache
from ..storage.memory import aligned_zeros
from ..storage.packed_matrix import PackedMatrix
from ..storage.steps import Rows, Step
from ..storage.token_inputs import TokenInputs

C = TypeVar("C", KVCache, RecurrentCache)
T = TypeVar("T")


@dataclass(frozen=True)
class Where:
    """The buffers, weights and caches of a plan, and the memory that its operations share.

    `rows`: those of the buffers. `whole`: what `SelectRows` has taken the buffers of the same name from.
    `caches`: by the numbers of their states in the plan.
    """

    plan: Plan
    rows: Rows
    buffers: Mapping[str, Array]
    whole: Mapping[str, Array]
    tokens: TokenInputs
    matrices: Mapping[str, PackedMatrix]
    caches: Sequence[Cache]
    n_seats: int
    n_threads: int
    _made: dict[object, Any] = field(default_factory=dict)

    @property
    def count(self) -> Count:
        """How many rows there are, in its first element."""
        return self.rows.count

    def width(self, name: str) -> int:
        """How many columns the buffer `name` has, without its padding."""
        return self.plan.buffers[name]

    def once(self, make: Callable[..., T], *arguments: object) -> T:
        """What `make(*arguments)` gives, made once for all operations that ask for it."""
        key = make, arguments
        if key not in self._made:
            self._made[key] = make(*arguments)
        found: T = self._made[key]
        return found

    @property
    def working(self) -> NDArray[np.uint8]:
        """Working memory of the threads, for products with any matrix."""
        return self.once(_working, self.plan, self.n_threads)

    @property
    def tiles(self) -> NDArray[np.uint8]:
        """Where each thread packs tiles of mapped weights."""
        return self.once(_tiles, self.plan, self.n_threads)

    def operand(self, name: str, matrix: PackedMatrix) -> tuple[tuple[NDArray, ...], list[Step]]:
        """What products with a matrix read of the buffer `name`: its floats, or its 8-bit form and the step
        that makes it."""
        if matrix.layout is None:
            return (self.buffers[name],), []
        return self.rows.quantized(name, self.buffers[name], self.width(name), matrix.layout.sum_factor)

    def state(self, number: int, kind: type[C]) -> C:
        """A layer's cache; TypeError if it is of another kind."""
        cache = self.caches[number]
        if not isinstance(cache, kind):
            raise TypeError(f"state {number} of the plan is no {kind.__name__}")
        return cache


def _working(plan: Plan, n_threads: int) -> NDArray[np.uint8]:
    return working_memory(max(tensor.shape[-1] for tensor in plan.matrices), n_threads)


def _tiles(plan: Plan, n_threads: int) -> NDArray[np.uint8]:
    n_bytes = tiles_bytes((tensor.format, tensor.shape[-1]) for tensor in plan.matrices)
    return aligned_zeros((n_threads, n_bytes), np.uint8)
