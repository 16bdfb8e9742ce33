"""Layers that carry a state from one token to the next -> kernel calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .....errors import GGUFUnsupportedError
from .....kernels.jit.kernel import Call
from .....kernels.language.checks import Array, Count
from .....kernels.language.rows import LANES
from .....kernels.norm.l2_norm import bind_l2_norm
from .....kernels.recurrent.causal_conv import bind_causal_conv, bind_token_shift
from .....kernels.recurrent.delta_rule import bind_delta_rule
from .....kernels.recurrent.gated_linear_attention import bind_bonus, bind_gated_linear_attention
from .....kernels.recurrent.generalized_delta_rule import bind_generalized_delta_rule
from .....kernels.recurrent.lightning_attention import bind_lightning_attention
from .....kernels.recurrent.selective_scan import bind_decay, bind_selective_scan
from ....plan import ops
from ....plan.plan import Plan
from ....plan.states import RecurrentSpec
from ..storage.caches import RecurrentCache
from ..storage.packed_matrix import row_vector
from ..storage.steps import Step
from .registry import Check, calls, lowers
from .where import Where

T = TypeVar("T", bound=ops.Recurrent)
Bind = Callable[[T, list[Array], Array, Array, Count], Call]
"""(operation, inputs, states of all seats, output, spans) -> its call."""


def _lowers(kind: type[T], check: Check[T] | None = None) -> Callable[[Bind[T]], None]:
    """Enters a function that makes the call of an operation."""

    def enter(bind: Bind[T]) -> None:
        def steps(op: T, x: list[Array], out: Array, where: Where) -> list[Step]:
            states = where.state(op.state, RecurrentCache).values
            return [Step(bind(op, x, states, out, where.tokens.spans), (*x, states), (out, states))]

        lowers(kind, check)(steps)

    return enter


def _require_lanes(op: ops.Recurrent, plan: Plan) -> None:
    """Kernels read keys, and the rows of the state, whole vectors at a time."""
    spec = plan.states[op.state]
    if isinstance(spec, RecurrentSpec) and spec.shape[-1] % LANES:
        raise GGUFUnsupportedError(
            f"{op.out}: the numba executor needs keys whose size is a multiple of {LANES}, and those of "
            f'this model have {spec.shape[-1]} values; use executor="reference"'
        )


@_lowers(ops.CausalConv)
def _causal_conv(op: ops.CausalConv, x: list[Array], state: Array, out: Array, spans: Count) -> Call:
    n_channels, size = op.weight.shape
    weight = np.zeros((size, out.shape[1]), np.float32)
    weight[:, :n_channels] = op.weight.dequantize().T
    bias = np.zeros(out.shape[1], np.float32) if op.bias is None else row_vector(op.bias, out.shape[1])
    return bind_causal_conv(x[0], weight, bias, state, out, spans)


@_lowers(ops.SelectiveScan)
def _selective_scan(op: ops.SelectiveScan, x: list[Array], state: Array, out: Array, spans: Count) -> Call:
    a = op.a.dequantize().reshape(op.n_heads, -1)
    skip, dt_bias = (weight.dequantize().reshape(-1) for weight in (op.skip, op.dt_bias))
    values, dt, b, c = x
    return bind_selective_scan(values, dt, b, c, a, skip, dt_bias, state, out, spans, op.n_groups)


@_lowers(ops.DeltaRule, _require_lanes)
def _delta_rule(op: ops.DeltaRule, x: list[Array], state: Array, out: Array, spans: Count) -> Call:
    q, k, v, decay, beta = x
    return bind_delta_rule(
        q,
        k,
        v,
        decay,
        beta,
        state,
        out,
        spans,
        n_k_heads=op.n_k_heads,
        is_grouped=op.is_grouped,
        n_rates=op.n_rates,
    )


@_lowers(ops.LightningAttention, _require_lanes)
def _lightning_attention(
    op: ops.LightningAttention, x: list[Array], state: Array, out: Array, spans: Count
) -> Call:
    q, k, v = x
    return bind_lightning_attention(q, k, v, np.array(op.decay, np.float32), state, out, spans)


_lowers(ops.TokenShift)(lambda op, x, state, out, spans: bind_token_shift(x[0], state, out, spans))


@_lowers(ops.GatedLinearAttention, _require_lanes)
def _gated_linear_attention(
    op: ops.GatedLinearAttention, x: list[Array], state: Array, out: Array, spans: Count
) -> Call:
    q, k, v, decay = x
    return bind_gated_linear_attention(q, k, v, decay, state, out, spans, op.reads_before)


@_lowers(ops.GeneralizedDeltaRule, _require_lanes)
def _generalized_delta_rule(
    op: ops.GeneralizedDeltaRule, x: list[Array], state: Array, out: Array, spans: Count
) -> Call:
    q, k, v, a, b, decay = x
    return bind_generalized_delta_rule(q, k, v, a, b, decay, state, out, spans)


@calls(ops.L2Norm)
def _l2_norm(op: ops.L2Norm, x: list[Array], out: Array, where: Where) -> Call:
    return bind_l2_norm(x[0], out, where.count, where.width(op.out), op.eps, op.n_groups)


@calls(ops.Decay)
def _decay(op: ops.Decay, x: list[Array], out: Array, where: Where) -> Call:
    width = where.width(op.out)
    a = np.zeros(out.shape[1], np.float32)
    a[:width] = np.repeat(op.a.dequantize(), width // op.a.n_values)
    return bind_decay(x[0], a, row_vector(op.bias, out.shape[1]), out, where.count)


@calls(ops.Bonus)
def _bonus(op: ops.Bonus, x: list[Array], out: Array, where: Where) -> Call:
    q, k, v = x
    return bind_bonus(q, k, v, op.weight.dequantize().reshape(op.n_heads, -1), out, where.count)
