"""Layers with many matrices in NumPy: experts, and matrices of heads."""

from __future__ import annotations

import numpy as np

from ....kernels.experts.linear import expert_linear_reference, head_linear_reference
from ....kernels.experts.route import route_reference
from ....kernels.experts.sum import expert_sum_reference
from ...plan import ops
from ..base import Array
from .forward_pass import ForwardPass
from .registry import runs, runs_many

runs(ops.ExpertSum)(lambda op, x, forward: expert_sum_reference(*x))


@runs(ops.HeadLinear)
def _head_linear(op: ops.HeadLinear, x: list[Array], forward: ForwardPass) -> Array:
    return head_linear_reference(x[0], forward.values(op.weight))


@runs_many(ops.Route)
def _route(op: ops.Route, x: list[Array], forward: ForwardPass) -> tuple[Array, Array]:
    ids, weights = route_reference(
        x[0],
        op.n_used,
        op.gating,
        forward.optional(op.bias),
        op.is_normalized,
        op.scale,
        op.n_groups,
        op.n_groups_used,
        op.n_sharing,
    )
    return ids.astype(np.float32), weights


@runs(ops.ExpertLinear)
def _expert_linear(op: ops.ExpertLinear, x: list[Array], forward: ForwardPass) -> Array:
    stack = forward.values(op.weight)
    ids, n_out = x[1].astype(np.int64), stack.shape[1]
    bias, scale = forward.optional(op.bias), forward.optional(op.scale)
    is_shared = x[0].shape[1] == stack.shape[2]
    return expert_linear_reference(x[0], ids, stack.__getitem__, n_out, bias, is_shared, scale)
