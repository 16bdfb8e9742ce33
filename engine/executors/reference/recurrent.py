"""Layers that carry a state from one token to the next, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ....kernels.norm.l2_norm import l2_norm_reference
from ....kernels.recurrent.causal_conv import causal_conv_reference, token_shift_reference
from ....kernels.recurrent.delta_rule import delta_rule_reference
from ....kernels.recurrent.gated_linear_attention import bonus_reference, gated_linear_attention_reference
from ....kernels.recurrent.generalized_delta_rule import generalized_delta_rule_reference
from ....kernels.recurrent.lightning_attention import lightning_attention_reference
from ....kernels.recurrent.selective_scan import decay_reference, selective_scan_reference
from ...plan import ops
from ..base import Array
from .forward_pass import ForwardPass
from .registry import by_group, runs

T = TypeVar("T", bound=ops.Recurrent)
Recurrence = Callable[[T, list[Array], Array, ForwardPass], tuple[Array, Array]]
"""(operation, its inputs, its state, forward pass) -> its output (n, ...), its next state."""


def _runs(kind: type[T]) -> Callable[[Recurrence[T]], None]:
    """Enters a function that computes the output of an operation and its next state."""

    def enter(function: Recurrence[T]) -> None:
        def compute(op: T, x: list[Array], forward: ForwardPass) -> Array:
            state = forward.recurrent(op.state)
            out, state.value = function(op, x, state.value, forward)
            return out.reshape(len(out), -1)

        runs(kind)(compute)

    return enter


_runs(ops.TokenShift)(lambda op, x, state, forward: token_shift_reference(x[0], state))


@_runs(ops.CausalConv)
def _causal_conv(
    op: ops.CausalConv, x: list[Array], state: Array, forward: ForwardPass
) -> tuple[Array, Array]:
    return causal_conv_reference(x[0], forward.values(op.weight), forward.optional(op.bias), state)


@_runs(ops.SelectiveScan)
def _selective_scan(
    op: ops.SelectiveScan, x: list[Array], state: Array, forward: ForwardPass
) -> tuple[Array, Array]:
    a = forward.values(op.a).reshape(op.n_heads, -1)
    skip, dt_bias = (forward.values(weight).reshape(-1) for weight in (op.skip, op.dt_bias))
    b, c = by_group(x[2], op.n_groups), by_group(x[3], op.n_groups)
    return selective_scan_reference(by_group(x[0], op.n_heads), x[1], b, c, a, skip, dt_bias, state)


@_runs(ops.DeltaRule)
def _delta_rule(op: ops.DeltaRule, x: list[Array], state: Array, forward: ForwardPass) -> tuple[Array, Array]:
    q, k = (by_group(part, op.n_k_heads) for part in x[:2])
    v, decay = (by_group(part, op.n_heads) for part in x[2:4])
    return delta_rule_reference(q, k, v, decay, x[4], state, op.is_grouped)


@_runs(ops.LightningAttention)
def _lightning_attention(
    op: ops.LightningAttention, x: list[Array], state: Array, forward: ForwardPass
) -> tuple[Array, Array]:
    q, k, v = (by_group(part, len(op.decay)) for part in x)
    return lightning_attention_reference(q, k, v, np.array(op.decay, np.float32), state)


@_runs(ops.GatedLinearAttention)
def _gated_linear_attention(
    op: ops.GatedLinearAttention, x: list[Array], state: Array, forward: ForwardPass
) -> tuple[Array, Array]:
    q, k, v, decay = (by_group(part, op.n_heads) for part in x)
    return gated_linear_attention_reference(q, k, v, decay, state, op.reads_before)


@_runs(ops.GeneralizedDeltaRule)
def _generalized_delta_rule(
    op: ops.GeneralizedDeltaRule, x: list[Array], state: Array, forward: ForwardPass
) -> tuple[Array, Array]:
    q, k, v, a, b, decay = (by_group(part, op.n_heads) for part in x)
    return generalized_delta_rule_reference(q, k, v, a, b, decay, state)


@runs(ops.L2Norm)
def _l2_norm(op: ops.L2Norm, x: list[Array], forward: ForwardPass) -> Array:
    return l2_norm_reference(by_group(x[0], op.n_groups), op.eps).reshape(x[0].shape)


@runs(ops.Decay)
def _decay(op: ops.Decay, x: list[Array], forward: ForwardPass) -> Array:
    a = forward.values(op.a).reshape(-1)
    return decay_reference(x[0], np.repeat(a, x[0].shape[1] // len(a)), forward.values(op.bias))


@runs(ops.Bonus)
def _bonus(op: ops.Bonus, x: list[Array], forward: ForwardPass) -> Array:
    q, k, v = (by_group(part, op.n_heads) for part in x)
    return bonus_reference(q, k, v, forward.values(op.weight).reshape(op.n_heads, -1)).reshape(x[2].shape)
