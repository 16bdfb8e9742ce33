"""The steps that layers with many matrices become: experts, and matrices of heads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .....gguf_io.tensor import Tensor
from .....kernels.experts.groups import Groups, bind_gather, bind_group
from .....kernels.experts.linear import bind_expert_linear, bind_mapped_expert_linear, expert_scratch
from ....plan import ops
from ....plan.plan import Plan
from ..storage.memory import aligned_zeros
from ..storage.packed_matrix import PackedMatrix
from ..storage.steps import Quantized, Rows, Step

Array = NDArray[np.float32]
HEADS = "heads"
"""Stands for the numbers of all heads, as the name of a buffer would."""


class ExpertSteps:
    """Lowers `ExpertLinear`, and `HeadLinear`, whose heads are experts that every token goes to.

    Tokens are put together by expert once, however many layers follow the same router; what these read is
    rounded to 8 bits once for each token, and laid side by side once. `working` is the memory of products,
    `tiles` gives that for tiles of mapped weights.
    """

    def __init__(
        self,
        plan: Plan,
        rows: Rows,
        n_threads: int,
        matrix: Callable[[Tensor], PackedMatrix],
        working: NDArray[np.uint8],
        tiles: Callable[[], NDArray[np.uint8]],
    ) -> None:
        self._plan, self._rows, self._matrix, self._tiles = plan, rows, matrix, tiles
        self._memory = expert_scratch(n_threads), working
        self._groups: dict[tuple[int, int], Groups] = {}
        self._inputs: dict[tuple[int, int, bool], tuple[NDArray, ...]] = {}
        self._holds: dict[object, object] = {}  # what the memory of `_groups` and `_inputs` was made of last

    def experts(self, op: ops.ExpertLinear, x: Array, ids: Array, out: Array) -> list[Step]:
        """The steps of `op` on its buffers."""
        bias = None if op.bias is None else op.bias.dequantize()
        scale = None if op.scale is None else op.scale.dequantize()
        return self._steps(op, op.ids, x, ids, out, bias, scale)

    def heads(self, op: ops.HeadLinear, x: Array, out: Array) -> list[Step]:
        """The same for heads."""
        ids = aligned_zeros((1, op.weight.shape[0]), np.float32)
        ids[0] = np.arange(ids.size)
        return self._steps(op, HEADS, x, ids, out, None, None)

    def _steps(
        self,
        op: ops.ExpertLinear | ops.HeadLinear,
        name_of_ids: str,
        x: Array,
        ids: Array,
        out: Array,
        bias: Array | None,
        scale: Array | None,
    ) -> list[Step]:
        n_experts, n_out, n_in = op.weight.shape
        n_used, width = self._plan.buffers[op.out] // n_out, self._plan.buffers[op.x]
        matrix = self._matrix(op.weight)
        groups, steps = self._grouped(name_of_ids, ids, n_used, n_experts)
        factor = 1
        xs: tuple[NDArray, ...] = (x,)
        if matrix.layout is not None:
            factor = matrix.layout.sum_factor
            quantized, quantizing = self._rows.quantized(op.x, x, width, factor)
            xs = quantized.arrays
            steps += quantizing
        inputs, gathering = self._gathered(
            (op.x, name_of_ids, factor), xs, groups, n_in, is_shared=width == n_in
        )
        steps += gathering
        rest = inputs, groups, out, *self._memory, n_out, bias, scale
        if matrix.is_mapped:
            call = bind_mapped_expert_linear(matrix.format, matrix.data, self._tiles(), *rest)
        else:
            call = bind_expert_linear(matrix.layout or matrix.format, matrix.data, *rest)
        steps.append(Step(call, (*inputs, *groups.arrays), (out,), n_used * n_out * n_in))
        return steps

    def _grouped(self, name: str, ids: Array, n_used: int, n_experts: int) -> tuple[Groups, list[Step]]:
        """The pairs of tokens and experts, and the step that puts them together unless it is done."""
        key = n_used, n_experts
        if key not in self._groups:
            self._groups[key] = Groups.make(self._rows.n_max, *key)
        groups = self._groups[key]
        if self._holds.get(key) == name:
            return groups, []
        self._holds[key] = name
        return groups, [Step(bind_group(ids, groups, self._rows.count), (ids,), groups.arrays)]

    def _gathered(
        self, names: tuple[str, str, int], xs: tuple[NDArray, ...], groups: Groups, n_in: int, is_shared: bool
    ) -> tuple[tuple[NDArray, ...], list[Step]]:
        """A buffer's values, or its 8-bit form, for each pair, and the steps that copy them unless done."""
        n_pairs, is_float = len(groups.token), len(xs) == 1
        key = n_pairs, n_in, is_float
        if key not in self._inputs:
            made = (aligned_zeros((n_pairs, n_in), np.float32),)
            self._inputs[key] = made if is_float else Quantized.make(n_pairs, n_in).arrays
        inputs = self._inputs[key]
        if self._holds.get(key) == names:
            return inputs, []
        self._holds[key] = names
        steps = [
            Step(bind_gather(x, out, groups, 0 if is_shared else out.shape[1]), (x, *groups.arrays), (out,))
            for x, out in zip(xs, inputs, strict=True)
        ]
        return inputs, steps
