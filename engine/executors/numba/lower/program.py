"""Plan -> program: each operation becomes one or more kernel calls on memory that is fixed once.

What is decided here is the memory: which array each buffer gets, and that a linear layer's input is rounded
to 8 bits once, however many matrices read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .....errors import GGUFUnsupportedError
from .....gguf_io.tensor import Tensor
from .....kernels.elementwise.scale import bind_scale
from .....kernels.experts.route import bind_route, route_scratch
from .....kernels.experts.sum import bind_expert_sum
from .....kernels.linear.floats import bind_float_linear
from .....kernels.linear.linear import bind_add_bias
from .....kernels.linear.mapped import bind_mapped_linear, tiles_bytes
from .....kernels.linear.packed_product import working_memory
from .....kernels.linear.quantized import bind_quantized_linear
from .....kernels.position.embedding import bind_embedding
from .....kernels.recurrent.linear_state import LANES
from .....kernels.weights.decode_row import ROW_DECODERS
from ....plan import ops
from ....plan.plan import Plan
from ....plan.states import RecurrentSpec
from ..storage.buffers import Buffers
from ..storage.memory import aligned_zeros
from ..storage.packed_matrix import PackedMatrix, layout_of, row_vector
from ..storage.packing import pack_tensors
from ..storage.steps import Rows, Step
from .dense import Place, is_lowered, lower
from .experts import ExpertSteps

# Their kernels read keys, and the rows of the state, whole vectors at a time.
_IN_LANES = ops.DeltaRule | ops.LightningAttention | ops.GatedLinearAttention | ops.GeneralizedDeltaRule


def require_lowered(plan: Plan) -> None:
    """Raises GGUFUnsupportedError if the plan has an operation, or a matrix in a format, that this executor
    has no kernel for."""
    for op in plan.ops:
        is_known = is_lowered(op) or isinstance(
            op,
            ops.Embed
            | ops.SelectRows
            | ops.Linear
            | ops.Attention
            | ops.Route
            | ops.ExpertLinear
            | ops.ExpertSum
            | ops.HeadLinear
            | ops.Recurrent,
        )
        if not is_known:
            raise GGUFUnsupportedError(
                f"the numba executor does not know the operation {type(op).__name__} that {op.out} needs "
                'yet; use executor="reference"'
            )
        spec = plan.states[op.state] if isinstance(op, _IN_LANES) else None
        if isinstance(spec, RecurrentSpec) and spec.shape[-1] % LANES:
            raise GGUFUnsupportedError(
                f"{op.out}: the numba executor needs keys whose size is a multiple of {LANES}, and those of "
                f'this model have {spec.shape[-1]} values; use executor="reference"'
            )
    for matrix in plan.matrices:
        layout_of(matrix)


class ProgramBuilder:
    """Turns a plan into steps. `attention` makes the steps of an `Attention` operation from its inputs and
    out, `recurrence` those of an operation with a recurrent state."""

    def __init__(
        self,
        plan: Plan,
        n_batch: int,
        n_head_rows: int,
        n_threads: int,
        attention: Callable[[ops.Attention, list[NDArray], NDArray, Rows], list[Step]],
        recurrence: Callable[[Any, list[NDArray], NDArray, Rows], list[Step]],
        matrices: dict[str, PackedMatrix],
        positions: NDArray[np.int64],
    ) -> None:
        self.plan = plan
        self.positions = positions
        self.tokens, self.wanted = Rows(n_batch), Rows(n_head_rows)
        self._memory = Buffers(plan, n_batch, n_head_rows)
        self.buffers, self.whole = self._memory.arrays, self._memory.whole
        self.matrices = matrices
        self.table_rows: dict[str, NDArray[np.uint8]] = {}
        """Where the runner puts the rows of an embedding table that a step needs, as the file has them; by
        the buffer that they become."""
        self.angles = {
            name: tuple(aligned_zeros((n_batch, len(table.inv_freq)), np.float32) for _ in range(2))
            for name, table in plan.rope_tables.items()
        }
        self.query_scales = {
            (op.strength, op.step, op.offset): aligned_zeros((n_batch,), np.float32)
            for op in plan.ops
            if isinstance(op, ops.QueryScale)
        }
        self._attention, self._recurrence = attention, recurrence
        self._n_threads = n_threads
        self._rows = self.tokens
        n_in = max((tensor.shape[-1] for tensor in plan.matrices), default=0)
        self._working = working_memory(n_in, n_threads)
        self._experts = self._expert_steps()
        matrices |= pack_tensors(
            (tensor for tensor in plan.matrices if tensor.name not in matrices), n_threads
        )
        self.steps: list[Step] = []
        self.first_step: list[int] = []
        """Where the steps of each operation begin, and last how many steps there are."""
        for i, op in enumerate(plan.ops):
            self.first_step.append(len(self.steps))
            self._memory.begin(op)
            self.steps.extend(self._lower(op))
            self._memory.end(i, op)
        self.first_step.append(len(self.steps))
        del self._experts  # it refers to us: the weights shall go as soon as nobody uses them

    @property
    def n_buffer_bytes(self) -> int:
        """Memory of all buffers."""
        return self._memory.n_bytes

    def _lower(self, op: ops.Op) -> Iterator[Step]:
        if isinstance(op, ops.SelectRows):
            self._rows = self.wanted
            self._experts = self._expert_steps()
            return
        out = self.buffers[op.out]
        inputs = [self.buffers[name] for name in op.inputs]
        count = self._rows.count
        match op:
            case ops.Embed():
                row_bytes = op.weight.format.nbytes(op.weight.shape[1])
                rows = self.table_rows[op.out] = aligned_zeros((len(out), row_bytes), np.uint8)
                if op.weight.format in ROW_DECODERS:  # else written by the runner
                    yield self._embed(op, rows, out)
                return
            case ops.Linear():
                yield from self._linear(op, out)
                return
            case ops.Attention():
                yield from self._attention(op, inputs, out, self._rows)
                return
            case ops.Recurrent():
                yield from self._recurrence(op, inputs, out, self._rows)
            case ops.Route():
                yield self._route(op, inputs[0], out)
            case ops.ExpertLinear():
                yield from self._experts.experts(op, inputs[0], inputs[1], out)
            case ops.HeadLinear():
                yield from self._experts.heads(op, inputs[0], out)
            case ops.ExpertSum():
                n_used, width = self.plan.buffers[op.weights_of], self.plan.buffers[op.out]
                call = bind_expert_sum(inputs[0], inputs[1], out, count, n_used, width)
                yield Step(call, tuple(inputs), (out,))
            case _:
                place = Place(self.plan, inputs, out, count, self.positions, self.angles, self.query_scales)
                for call in lower(op, place):
                    yield Step(call, tuple(inputs), (out,))

    def _embed(self, op: ops.Embed, rows: NDArray[np.uint8], out: NDArray[np.float32]) -> Step:
        n_max, width = len(rows), op.weight.shape[1]
        in_order = np.arange(n_max)
        call = bind_embedding(
            op.weight.format, rows.reshape(-1), in_order, out, self._rows.count, n_max, width, op.scale
        )
        return Step(call, (rows,), (out,))

    def _linear(self, op: ops.Linear, out: NDArray[np.float32]) -> Iterator[Step]:
        matrix = self.matrix(op.weight)
        x, count = self.buffers[op.x], self._rows.count
        n_out, n_in = op.weight.shape
        xs: tuple[NDArray, ...] = (x,)
        if matrix.layout is not None:
            quantized, steps = self._rows.quantized(op.x, x, n_in, matrix.layout.sum_factor)
            yield from steps
            xs = quantized.arrays
        if matrix.is_mapped:
            memory = self._tiles, self._working
            call = bind_mapped_linear(matrix.format, matrix.data, (n_out, n_in), xs, out, count, *memory)
        elif matrix.layout is None:
            call = bind_float_linear(matrix.format, matrix.data, x, out, count)
        else:
            q, scale, sums, half = xs
            packed = matrix.data.reshape(-1)
            call = bind_quantized_linear(
                matrix.layout, packed, q, scale, sums, half, out, count, self._working
            )
        yield Step(call, xs, (out,), n_out * n_in)
        if op.scale != 1:
            yield Step(bind_scale(out, out, count, op.scale), (out,), (out,))
        if op.bias is not None:
            bias = row_vector(op.bias, out.shape[1])
            yield Step(bind_add_bias(out, bias, count), (out,), (out,))

    def _route(self, op: ops.Route, logits: NDArray[np.float32], out: NDArray[np.float32]) -> Step:
        n_experts, ids = self.plan.buffers[op.x], self.buffers[op.ids]
        scratch = route_scratch(n_experts, self._n_threads)
        call = bind_route(
            logits,
            ids,
            out,
            self._rows.count,
            scratch,
            n_experts,
            op.n_used,
            op.gating,
            None if op.bias is None else op.bias.dequantize(),
            op.is_normalized,
            op.scale,
            op.n_groups,
            op.n_groups_used,
            op.n_sharing,
        )
        return Step(call, (logits,), (ids, out, scratch))

    def _expert_steps(self) -> ExpertSteps:
        rest = self.matrix, self._working, lambda: self._tiles
        return ExpertSteps(self.plan, self._rows, self._n_threads, *rest)

    @cached_property
    def _tiles(self) -> NDArray[np.uint8]:
        """Where each thread packs tiles of mapped weights."""
        n_bytes = tiles_bytes((tensor.format, tensor.shape[-1]) for tensor in self.plan.matrices)
        return aligned_zeros((self._n_threads, n_bytes), np.uint8)

    def matrix(self, tensor: Tensor) -> PackedMatrix:
        """The packed form of a tensor."""
        return self.matrices[tensor.name]
