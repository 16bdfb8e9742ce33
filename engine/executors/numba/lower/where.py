"""Where the operations of a plan work: the memory that their steps read and write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

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
class SequencePart(Generic[C]):
    """The part of an operation that belongs to one sequence: its cache, and its rows of the buffers."""

    number: int
    cache: C
    rows: slice
    count: Count


@dataclass(frozen=True)
class Where:
    """The buffers, weights and caches of a plan, and the memory that its operations share.

    `rows`: those of the buffers. `sequences[i][state]` is a cache: of one sequence that all tokens belong to,
    or of as many as there are tokens in every step.
    """

    plan: Plan
    rows: Rows
    buffers: Mapping[str, Array]
    tokens: TokenInputs
    matrices: Mapping[str, PackedMatrix]
    sequences: Sequence[Sequence[Cache]]
    n_threads: int
    _made: dict[object, Any] = field(default_factory=dict)

    @property
    def count(self) -> Count:
        """How many rows there are, in its first element."""
        return self.rows.count

    def width(self, name: str) -> int:
        """How many columns the buffer `name` has, without its padding."""
        return self.plan.buffers[name]

    def once(self, make: Callable[..., T], *arguments: object, owner: object = None) -> T:
        """What `make(*arguments)` gives, made once for all operations that ask for it as the same owner."""
        key = make, arguments, owner
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

    def sequence_parts(self, state: int, kind: type[C]) -> Iterator[SequencePart[C]]:
        """What each sequence has of an operation with this state."""
        is_alone = len(self.sequences) == 1
        for i, caches in enumerate(self.sequences):
            cache = caches[state]
            if not isinstance(cache, kind):
                raise TypeError(f"state {state} of the plan is no {kind.__name__}")
            if is_alone:
                yield SequencePart(i, cache, slice(None), self.count)
            else:
                yield SequencePart(i, cache, slice(i, i + 1), self.once(_count_of_one))


def _working(plan: Plan, n_threads: int) -> NDArray[np.uint8]:
    return working_memory(max(tensor.shape[-1] for tensor in plan.matrices), n_threads)


def _tiles(plan: Plan, n_threads: int) -> NDArray[np.uint8]:
    n_bytes = tiles_bytes((tensor.format, tensor.shape[-1]) for tensor in plan.matrices)
    return aligned_zeros((n_threads, n_bytes), np.uint8)


def _count_of_one() -> Count:
    count = aligned_zeros((8,), np.int64)
    count[0] = 1
    return count
