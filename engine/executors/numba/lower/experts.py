"""Layers with many matrices -> kernel calls: experts, and matrices of heads.

Tokens are put together by expert once, however many layers follow the same router; what these read is
rounded to 8 bits once for each token, and laid side by side once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .....kernels.experts.groups import Groups, bind_gather, bind_group
from .....kernels.experts.linear import Mapped, bind_expert_linear, expert_scratch
from .....kernels.experts.route import bind_route, route_scratch
from .....kernels.experts.sum import bind_expert_sum
from .....kernels.jit.kernel import Call
from .....kernels.language.checks import Array
from ....plan import ops
from ..storage.memory import aligned_zeros
from ..storage.steps import Step, quantized_memory
from .registry import calls, lowers
from .where import Where

HEADS = "heads"
"""Stands for the numbers of all heads, as the name of a buffer would."""


@lowers(ops.Route)
def _route(op: ops.Route, x: list[Array], out: Array, where: Where) -> list[Step]:
    n_experts, ids = where.width(op.x), where.buffers[op.ids]
    scratch = route_scratch(n_experts, where.n_threads)
    call = bind_route(
        x[0],
        ids,
        out,
        where.count,
        scratch,
        n_experts=n_experts,
        n_used=op.n_used,
        gating=op.gating,
        bias=None if op.bias is None else op.bias.dequantize(),
        is_normalized=op.is_normalized,
        scale=op.scale,
        n_groups=op.n_groups,
        n_groups_used=op.n_groups_used,
        n_sharing=op.n_sharing,
    )
    return [Step(call, (x[0],), (ids, out, scratch))]


@calls(ops.ExpertSum)
def _expert_sum(op: ops.ExpertSum, x: list[Array], out: Array, where: Where) -> Call:
    return bind_expert_sum(x[0], x[1], out, where.count, where.width(op.weights_of), where.width(op.out))


@lowers(ops.ExpertLinear)
def _expert_linear(op: ops.ExpertLinear, x: list[Array], out: Array, where: Where) -> list[Step]:
    bias = None if op.bias is None else op.bias.dequantize()
    scale = None if op.scale is None else op.scale.dequantize()
    return _products(op, op.ids, x[1], out, where, bias, scale)


@lowers(ops.HeadLinear)
def _head_linear(op: ops.HeadLinear, x: list[Array], out: Array, where: Where) -> list[Step]:
    """Heads are experts that every token goes to."""
    ids = aligned_zeros((1, op.weight.shape[0]), np.float32)
    ids[0] = np.arange(ids.size)
    return _products(op, HEADS, ids, out, where)


def _products(
    op: ops.ExpertLinear | ops.HeadLinear,
    name_of_ids: str,
    ids: Array,
    out: Array,
    where: Where,
    bias: Array | None = None,
    scale: Array | None = None,
) -> list[Step]:
    n_experts, n_out, n_in = op.weight.shape
    n_used, is_shared = where.width(op.out) // n_out, where.width(op.x) == n_in
    matrix = where.matrices[op.weight.name]
    groups, steps = _grouped(name_of_ids, ids, n_used, n_experts, where)
    xs, quantizing = where.operand(op.x, matrix)
    source = op.x, name_of_ids, matrix.layout.sum_factor if matrix.layout else 1
    inputs, gathering = _gathered(source, xs, groups, n_in, is_shared, where)
    call = bind_expert_linear(
        Mapped(matrix.format, where.tiles) if matrix.is_mapped else matrix.layout or matrix.format,
        matrix.data,
        inputs,
        groups,
        out,
        scratch=where.once(expert_scratch, where.n_threads),
        working=where.working,
        n_out=n_out,
        bias=bias,
        scale=scale,
    )
    product = Step(call, (*inputs, *groups.arrays), (out,), n_used * n_out * n_in)
    return [*steps, *quantizing, *gathering, product]


def _grouped(name: str, ids: Array, n_used: int, n_experts: int, where: Where) -> tuple[Groups, list[Step]]:
    """The pairs of tokens and experts, and the step that puts them together unless it is done."""
    rows = where.rows
    return rows.derived(
        ("groups", n_used, n_experts),
        name,
        lambda: Groups.make(rows.n_max, n_used, n_experts),
        lambda made: [Step(bind_group(ids, made, rows.count), (ids,), made.arrays)],
    )


def _gathered(
    source: object, xs: tuple[NDArray, ...], groups: Groups, n_in: int, is_shared: bool, where: Where
) -> tuple[tuple[NDArray, ...], list[Step]]:
    """A buffer's values, or its 8-bit form, for each pair, and the steps that copy them unless it is done."""
    n_pairs, is_float = len(groups.token), len(xs) == 1

    def make() -> tuple[NDArray, ...]:
        return (aligned_zeros((n_pairs, n_in), np.float32),) if is_float else quantized_memory(n_pairs, n_in)

    def fill(made: tuple[NDArray, ...]) -> list[Step]:
        pairs = zip(xs[:4], made, strict=True)  # tokens that are packed together are not those of an expert
        return [
            Step(bind_gather(x, to, groups, 0 if is_shared else to.shape[1]), (x, *groups.arrays), (to,))
            for x, to in pairs
        ]

    return where.rows.derived(("gathered", n_pairs, n_in, is_float), source, make, fill)
