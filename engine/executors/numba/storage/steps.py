"""Steps of a program: kernel calls with the memory that they read and write, and where threads meet.

The threads of a team wait for each other after a call only if a later call reads or overwrites what has been
written since they last met; so the q, k and v products run without a pause in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .....kernels.jit.kernel import Call
from .....kernels.linear.quantize_activations import bind_quantize
from .memory import aligned_zeros


@dataclass(frozen=True)
class Step:
    """One kernel call, the memory that it reads and writes, its multiplications for one token, and by how
    many the shares of its threads are shifted."""

    call: Call
    reads: tuple[NDArray, ...]
    writes: tuple[NDArray, ...]
    macs_per_token: int = 0
    turn: int = 0


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


@dataclass
class Quantized:
    """Memory for the 8-bit form of a buffer, and which buffer it holds now."""

    q: NDArray[np.int8]
    scale: NDArray[np.float32]
    sums: NDArray[np.int32]
    half: NDArray[np.int32]
    holds: object = None

    @classmethod
    def make(cls, n_rows: int, n_in: int) -> Quantized:
        scale, sums, half = (
            aligned_zeros((n_rows, n_in // 32), dtype) for dtype in (np.float32, np.int32, np.int32)
        )
        return cls(aligned_zeros((n_rows, n_in), np.int8), scale, sums, half)

    @property
    def arrays(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """q, scale, sums, half."""
        return self.q, self.scale, self.sums, self.half


@dataclass
class Rows:
    """A range of the plan whose buffers have the same number of rows: all tokens of a step, or those with
    logits."""

    n_max: int
    count: NDArray[np.int64] = field(default_factory=lambda: aligned_zeros((8,), np.int64))
    _quantized: dict[tuple[int, int], Quantized] = field(default_factory=dict)

    def quantized(
        self, name: str, x: NDArray[np.float32], n_in: int, sum_factor: int
    ) -> tuple[Quantized, list[Step]]:
        """The 8-bit form of the buffer x, of n_in columns, with the sums that a layout wants, and the
        step that makes it unless it is there."""
        key = n_in, sum_factor
        if key not in self._quantized:
            self._quantized[key] = Quantized.make(self.n_max, n_in)
        made = self._quantized[key]
        if made.holds == name:
            return made, []
        made.holds = name
        return made, [Step(bind_quantize(x, *made.arrays, self.count, n_in, sum_factor), (x,), made.arrays)]
