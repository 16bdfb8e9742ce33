"""Plan -> program: each operation becomes one or more kernel calls on memory that is fixed once.

What is decided here is the memory: which array each buffer gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .....kernels.elementwise.row_max import bind_row_max
from .....kernels.language.checks import Array, Count
from ....plan import ops
from ....plan.plan import Plan
from ..storage.buffers import Buffers
from ..storage.caches import Cache
from ..storage.memory import aligned_zeros
from ..storage.packed_matrix import PackedMatrix, packed_layout
from ..storage.steps import Rows, Step
from ..storage.token_inputs import TokenInputs
from . import attention, dense, experts, recurrent, residual_streams  # noqa: F401 (they fill the registry)
from .registry import lower, require_kernels
from .where import Where


def require_lowered(plan: Plan) -> None:
    """Raises GGUFUnsupportedError if the plan has an operation, or a matrix in a format, that this executor
    has no kernel for."""
    for op in plan.ops:
        require_kernels(op, plan)
    for matrix in plan.matrices:
        packed_layout(matrix)


@dataclass(frozen=True)
class LoweredPlan:
    """A plan as kernel calls, and the memory that they work on."""

    steps: list[Step]
    first_step: list[int]
    """Where the steps of each operation begin, and last those after all operations: `largest` is found."""
    largest: Array
    """(n_threads, n_head_rows): the largest value of each row of the output, of each thread's columns."""
    buffers: Mapping[str, Array]
    whole: Mapping[str, Array]
    """Buffers with all rows, from which `SelectRows` takes the wanted ones."""
    n_buffer_bytes: int
    inputs: TokenInputs
    n_tokens: Count
    """How many rows the steps before `SelectRows` work on, in the first element."""
    n_wanted: Count
    """How many rows those after it work on."""


def lower_plan(
    plan: Plan,
    n_batch: int,
    n_head_rows: int,
    n_threads: int,
    n_seats: int,
    caches: Sequence[Cache],
    matrices: Mapping[str, PackedMatrix],
) -> LoweredPlan:
    """Steps for up to n_batch tokens of up to n_seats sequences, of which up to n_head_rows are wanted at a
    time; `caches`: of the states of the plan."""
    tokens, wanted = Rows(n_batch), Rows(n_head_rows)
    inputs = TokenInputs.make(plan, n_batch, n_head_rows, n_seats)
    buffers = Buffers(plan, n_batch, n_head_rows)
    where = Where(plan, tokens, buffers.arrays, buffers.whole, inputs, matrices, caches, n_seats, n_threads)
    steps: list[Step] = []
    first_step = []
    for i, op in enumerate(plan.ops):
        first_step.append(len(steps))
        if isinstance(op, ops.SelectRows):
            where = replace(where, rows=wanted)
        buffers.begin(op)
        steps += lower(op, where)
        buffers.end(i, op)
    first_step.append(len(steps))
    largest = aligned_zeros((n_threads, n_head_rows), np.float32)
    output = buffers.arrays[plan.output]
    largest_of = bind_row_max(output, plan.buffers[plan.output], largest, wanted.count)
    steps.append(Step(largest_of, (output,), (largest,)))
    return LoweredPlan(
        steps=steps,
        first_step=first_step,
        largest=largest,
        buffers=buffers.arrays,
        whole=buffers.whole,
        n_buffer_bytes=buffers.n_bytes,
        inputs=inputs,
        n_tokens=tokens.count,
        n_wanted=wanted.count,
    )
