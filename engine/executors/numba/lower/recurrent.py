"""The steps that operations with a recurrent state become."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .....kernels.jit.kernel import Call
from .....kernels.recurrent.causal_conv import bind_causal_conv, bind_token_shift
from .....kernels.recurrent.delta_rule import bind_delta_rule
from .....kernels.recurrent.gated_linear_attention import bind_gated_linear_attention
from .....kernels.recurrent.generalized_delta_rule import bind_generalized_delta_rule
from .....kernels.recurrent.lightning_attention import bind_lightning_attention
from .....kernels.recurrent.selective_scan import bind_selective_scan
from ....plan import ops
from ..storage.caches import Cache, RecurrentCache
from ..storage.memory import aligned_zeros
from ..storage.packed_matrix import row_vector
from ..storage.steps import Rows, Step


class Recurrence:
    """Lowers recurrent operations for one sequence, or for several that have one token each in every step.

    `sequences[i][state]` is a cache.
    """

    def __init__(self, sequences: list[list[Cache]]) -> None:
        self._sequences = sequences
        self._one = aligned_zeros((8,), np.int64)
        self._one[0] = 1

    def steps(self, op: ops.Recurrent, x: list[NDArray], out: NDArray, rows: Rows) -> list[Step]:
        """A call for each sequence, on its rows."""
        steps = []
        for i, caches in enumerate(self._sequences):
            is_alone = len(self._sequences) == 1
            own = slice(None) if is_alone else slice(i, i + 1)
            count = rows.count if is_alone else self._one
            cache = caches[op.state]
            if not isinstance(cache, RecurrentCache):
                raise TypeError(f"state {op.state} of the plan is not recurrent")
            inputs = [part[own] for part in x]
            call = _bind(op, inputs, cache.value, out[own], count)
            steps.append(Step(call, (*inputs, cache.value), (out[own], cache.value)))
        return steps


def _bind(
    op: ops.Recurrent, x: list[NDArray], state: NDArray, out: NDArray, count: NDArray[np.int64]
) -> Call:
    match op:
        case ops.CausalConv():
            n_channels, size = op.weight.shape
            weight = np.zeros((size, out.shape[1]), np.float32)
            weight[:, :n_channels] = op.weight.dequantize().T
            bias = np.zeros(out.shape[1], np.float32)
            if op.bias is not None:
                bias = row_vector(op.bias, out.shape[1])
            return bind_causal_conv(x[0], weight, bias, state, out, count)
        case ops.TokenShift():
            return bind_token_shift(x[0], state, out, count)
        case ops.SelectiveScan():
            values, dt, b, c = x
            a = op.a.dequantize().reshape(op.n_heads, -1)
            skip, dt_bias = (weight.dequantize().reshape(-1) for weight in (op.skip, op.dt_bias))
            return bind_selective_scan(values, dt, b, c, a, skip, dt_bias, state, out, count, op.n_groups)
        case ops.DeltaRule():
            q, k, v, decay, beta = x
            at = decay, beta, state, out, count, op.n_k_heads, op.is_grouped, op.n_rates
            return bind_delta_rule(q, k, v, *at)
        case ops.LightningAttention():
            q, k, v = x
            decay = np.array(op.decay, np.float32)
            return bind_lightning_attention(q, k, v, decay, state, out, count)
        case ops.GatedLinearAttention():
            q, k, v, decay = x
            return bind_gated_linear_attention(q, k, v, decay, state, out, count, op.reads_before)
        case ops.GeneralizedDeltaRule():
            q, k, v, a, b, decay = x
            return bind_generalized_delta_rule(q, k, v, a, b, decay, state, out, count)
        case _:
            raise TypeError(f"no kernel for {type(op).__name__}")
