"""What is written before each step: all that operations need of its tokens besides the buffers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .....kernels.language.checks import Array, Count
from .....kernels.language.spans import span_table
from ....plan import ops
from ....plan.plan import Plan
from ....plan.states import KVSpec
from .memory import aligned_zeros


@dataclass(frozen=True)
class TokenInputs:
    """Memory for up to n_max tokens.

    `spans`: which rows belong to which sequence (`kernels/language/spans.py`). `wanted`: the rows that go
    through the head. `slots`: by window, where keys
    and values of the tokens go. `angles`: of each rope table cosine and sine (n_max, n_rot / 2).
    `query_scales`: by strength, step and offset. `table_rows`: rows of an embedding table as the file has
    them, by the buffer that they become.
    """

    positions: NDArray[np.int64]
    spans: Count
    wanted: NDArray[np.int64]
    slots: dict[int, NDArray[np.int64]]
    angles: dict[str, tuple[Array, Array]]
    query_scales: dict[tuple[float, int, int], Array]
    table_rows: dict[str, NDArray[np.uint8]]

    @classmethod
    def make(cls, plan: Plan, n_max: int, n_max_wanted: int, n_seats: int) -> TokenInputs:
        """Memory for what the operations of a plan need."""

        def angles(n: int) -> Array:
            return aligned_zeros((n_max, n), np.float32)

        return cls(
            aligned_zeros((n_max,), np.int64),
            span_table(n_seats),
            aligned_zeros((n_max_wanted,), np.int64),
            {
                spec.window: aligned_zeros((n_max,), np.int64)
                for spec in plan.states
                if isinstance(spec, KVSpec)
            },
            {
                name: (angles(len(table.inv_freq)), angles(len(table.inv_freq)))
                for name, table in plan.rope_tables.items()
            },
            {
                (op.strength, op.step, op.offset): aligned_zeros((n_max,), np.float32)
                for op in plan.ops
                if isinstance(op, ops.QueryScale)
            },
            {
                op.out: aligned_zeros((n_max, op.weight.format.nbytes(op.weight.shape[1])), np.uint8)
                for op in plan.ops
                if isinstance(op, ops.Embed)
            },
        )
