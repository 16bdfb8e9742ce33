"""Plan -> program: each operation becomes one or more kernel calls on memory that is fixed once.

What is decided here is the memory: which array each buffer gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....plan import ops
from ....plan.plan import Plan
from ..storage.buffers import Buffers
from ..storage.caches import Cache
from ..storage.packed_matrix import PackedMatrix, packed_layout
from ..storage.packing import pack_tensors
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


class ProgramBuilder:
    """Turns a plan into steps. `sequences`: see `Where`."""

    def __init__(
        self,
        plan: Plan,
        n_batch: int,
        n_head_rows: int,
        n_threads: int,
        sequences: Sequence[Sequence[Cache]],
        matrices: dict[str, PackedMatrix],
    ) -> None:
        self.tokens, self.wanted = Rows(n_batch), Rows(n_head_rows)
        self._memory = Buffers(plan, n_batch, n_head_rows)
        self.buffers, self.whole = self._memory.arrays, self._memory.whole
        self.inputs = TokenInputs.make(plan, n_batch)
        matrices |= pack_tensors(
            (tensor for tensor in plan.matrices if tensor.name not in matrices), n_threads
        )
        where = Where(plan, self.tokens, self.buffers, self.inputs, matrices, sequences, n_threads)
        self.steps: list[Step] = []
        self.first_step: list[int] = []
        """Where the steps of each operation begin, and last how many steps there are."""
        for i, op in enumerate(plan.ops):
            self.first_step.append(len(self.steps))
            if isinstance(op, ops.SelectRows):
                where = replace(where, rows=self.wanted)
            self._memory.begin(op)
            self.steps.extend(lower(op, where))
            self._memory.end(i, op)
        self.first_step.append(len(self.steps))

    @property
    def n_buffer_bytes(self) -> int:
        """Memory of all buffers."""
        return self._memory.n_bytes
