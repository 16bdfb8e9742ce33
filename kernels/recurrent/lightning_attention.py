"""Lightning attention: linear attention whose state decays at a fixed rate for each head.

    S = decay[h] * S + v[t, h] k[t, h]^T
    out[t, h] = S q[t, h]

    q, k  (n, n_heads, d_k) float32      v, out  (n, n_heads, d_v)      decay  (n_heads,), each in 0 .. 1
    S     (n_heads, d_v, d_k) float32: the layer's state, zero at the start of a sequence

Source: Qin et al. 2024, "Lightning Attention-2" (arXiv:2401.04658); MiniMax 2025, "MiniMax-01"
(arXiv:2501.08313).
"""

import numpy as np

from ..jit.kernel import Call
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32
from ..language.rows import LANES
from ..language.simd import fma, load, reduce_add, splat, store
from ..language.source import inlined
from .linear_state import state_arguments, state_kernel


def lightning_attention_reference(
    q: Array, k: Array, v: Array, decay: Array, state: Array
) -> tuple[Array, Array]:
    """Shapes as above -> out (n, n_heads, d_v), the state after the last token."""
    check_array("q", q, (None, None, None))
    n, n_heads, d_k = q.shape
    check_array("k", k, q.shape)
    check_array("v", v, (n, n_heads, None))
    check_array("decay", decay, (n_heads,))
    check_array("state", state, (n_heads, v.shape[2], d_k))
    out = np.empty_like(v)
    for t in range(n):
        state = decay[:, None, None] * state + v[t, :, :, None] * k[t, :, None, :]
        out[t] = (state @ q[t, :, :, None])[:, :, 0]
    return out, state


def bind_lightning_attention(
    q: Array, k: Array, v: Array, decay: Array, state: Array, out: Array, spans: Count
) -> Call:
    """Lightning attention on buffers, from the current states, which the call changes.

    state (n_seats, n_heads, d_v, d_k), d_k a multiple of LANES. Raises TypeError or ValueError for arrays
    that do not fit.
    """
    arguments = state_arguments(v, state, out, spans, {"q": q, "k": k})
    check_array("decay", decay, (arguments["n_heads"],))
    return _lightning_attention.bind(**arguments, decay=decay)


@inlined
def _take_in(args, state, head, t, value):
    offset, decay = t * args.ld_k + head * args.d_k, args.decay[head]
    q, k = args.q + offset, args.k + offset
    total = splat(0.0, F32, LANES)
    for j in range(0, args.d_k, LANES):
        kept = fma(load(k + j, LANES), value, load(state + j, LANES) * decay)
        store(state + j, kept)
        total = fma(kept, load(q + j, LANES), total)
    return reduce_add(total)


_lightning_attention = state_kernel(_take_in, "lightning_attention", "q k decay")
