"""Steps of a program: kernel calls with the memory that they read and write, and where threads meet.

The threads of a team wait for each other after a call only if a later call reads or overwrites what has been
written since they last met; so the q, k and v products run without a pause in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .....kernels.jit.kernel import Call
from .....kernels.language.checks import Array
from .....kernels.linear.packed_tokens import LEAST_TOKENS, packed_tokens
from .....kernels.linear.quantize_activations import bind_quantize
from .....kernels.target.target import host_target
from .memory import aligned_zeros

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One kernel call, the memory that it reads and writes, and its multiplications for one token."""

    call: Call
    reads: tuple[NDArray, ...]
    writes: tuple[NDArray, ...]
    macs_per_token: int = 0


def meeting_points(steps: list[Step]) -> list[bool]:
    """For each step, whether all threads must have finished it before any goes on to the next."""
    meet = [False] * len(steps)
    read: list[NDArray] = []
    written: list[NDArray] = []
    for i, step in enumerate(steps):
        if _overlap(step.reads, written) or _overlap(step.writes, read + written):
            meet[i - 1] = True
            read, written = [], []
        read.extend(step.reads)
        written.extend(step.writes)
    return meet


def _overlap(some: Iterable[NDArray], others: Iterable[NDArray]) -> bool:
    return any(np.may_share_memory(a, b) for a in some for b in others)


class Rows:
    """A range of the plan whose buffers have the same number of rows: all tokens of a step, or those with
    logits."""

    def __init__(self, n_max: int) -> None:
        self.n_max = n_max
        self.count = aligned_zeros((8,), np.int64)
        """How many rows there are now, in the first element."""
        self._derived: dict[object, Any] = {}
        self._sources: dict[object, object] = {}

    def derived(
        self, key: object, source: object, make: Callable[[], T], fill: Callable[[T], list[Step]]
    ) -> tuple[T, list[Step]]:
        """The memory of this key, made when first asked for, and the steps that fill it from `source`: none
        if that is what it holds already."""
        if key not in self._derived:
            self._derived[key] = make()
        memory: T = self._derived[key]
        if self._sources.get(key) == source:
            return memory, []
        self._sources[key] = source
        return memory, fill(memory)

    def quantized(
        self, name: str, x: Array, n_in: int, sum_factor: int
    ) -> tuple[tuple[NDArray, ...], list[Step]]:
        """The 8-bit form of the buffer x, of n_in columns, with the sums that a layout wants, and the step
        that makes it unless it is there; also with tokens side by side, on machines that multiply them so."""
        is_packed = host_target().has_matrix_unit and self.n_max >= LEAST_TOKENS

        def make() -> tuple[NDArray, ...]:
            packed = [packed_tokens(self.n_max, n_in)] if is_packed else []
            return (*quantized_memory(self.n_max, n_in), *packed)

        def fill(made: tuple[NDArray, ...]) -> list[Step]:
            q, scale, sums, half, *packed = made
            call = bind_quantize(x, q, scale, sums, half, self.count, n_in, sum_factor, *packed)
            return [Step(call, (x,), made)]

        return self.derived(
            ("quantized", n_in, sum_factor),
            name,
            make,
            fill,
        )


def quantized_memory(n_rows: int, n_in: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Memory for the 8-bit form of rows: q, scale, sums, half."""
    scale, sums, half = (
        aligned_zeros((n_rows, n_in // 32), dtype) for dtype in (np.float32, np.int32, np.int32)
    )
    return aligned_zeros((n_rows, n_in), np.int8), scale, sums, half
