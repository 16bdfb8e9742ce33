"""What each operation with a recurrent state computes, in NumPy."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ....gguf_io.tensor import Tensor
from ....kernels.recurrent.causal_conv import causal_conv_reference, token_shift_reference
from ....kernels.recurrent.delta_rule import delta_rule_reference
from ....kernels.recurrent.gated_linear_attention import gated_linear_attention_reference
from ....kernels.recurrent.generalized_delta_rule import generalized_delta_rule_reference
from ....kernels.recurrent.lightning_attention import lightning_attention_reference
from ....kernels.recurrent.selective_scan import selective_scan_reference
from ...plan import ops

Array = NDArray[np.float32]


def run_recurrence(
    op: ops.Recurrent, x: list[Array], state: Array, values: Callable[[Tensor], Array]
) -> tuple[Array, Array]:
    """(n, width) of `op` from its inputs x, each (n, its width), and the state behind the last row.

    `values` gives a weight in float32.
    """
    out, state = _run(op, x, state, values)
    return out.reshape(len(out), -1), state


def _run(
    op: ops.Recurrent, x: list[Array], state: Array, values: Callable[[Tensor], Array]
) -> tuple[Array, Array]:
    match op:
        case ops.CausalConv():
            bias = None if op.bias is None else values(op.bias)
            return causal_conv_reference(x[0], values(op.weight), bias, state)
        case ops.TokenShift():
            return token_shift_reference(x[0], state)
        case ops.SelectiveScan():
            a = values(op.a).reshape(op.n_heads, -1)
            skip, dt_bias = (values(weight).reshape(-1) for weight in (op.skip, op.dt_bias))
            (heads,), (b, c) = _heads(x[:1], op.n_heads), _heads(x[2:], op.n_groups)
            return selective_scan_reference(heads, x[1], b, c, a, skip, dt_bias, state)
        case ops.DeltaRule():
            q, k = _heads(x[:2], op.n_k_heads)
            v, decay = _heads(x[2:4], op.n_heads)
            return delta_rule_reference(q, k, v, decay, x[4], state, op.is_grouped)
        case ops.LightningAttention():
            q, k, v = _heads(x, len(op.decay))
            return lightning_attention_reference(q, k, v, np.array(op.decay, np.float32), state)
        case ops.GatedLinearAttention():
            q, k, v, decay = _heads(x, op.n_heads)
            return gated_linear_attention_reference(q, k, v, decay, state, op.reads_before)
        case ops.GeneralizedDeltaRule():
            q, k, v, a, b, decay = _heads(x, op.n_heads)
            return generalized_delta_rule_reference(q, k, v, a, b, decay, state)
        case _:
            raise TypeError(f"no reference for {type(op).__name__}")


def _heads(x: list[Array], n_heads: int) -> list[Array]:
    """(n, width) -> (n, n_heads, width / n_heads), each."""
    return [part.reshape(len(part), n_heads, -1) for part in x]
