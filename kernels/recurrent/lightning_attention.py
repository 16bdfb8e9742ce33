"""Lightning attention: linear attention whose state forgets at a fixed rate, another for each head.

    S = decay[h] * S + v[t, h] k[t, h]^T
    out[t, h] = S q[t, h]

    q, k  (n, n_heads, d_k) float32      v, out  (n, n_heads, d_v)      decay  (n_heads,), each in 0 .. 1
    S     (n_heads, d_v, d_k) float32: the layer's state, zero at the start of a sequence

Source: Qin et al. 2024, "Lightning Attention-2" (arXiv:2401.04658); MiniMax 2025, "MiniMax-01"
(arXiv:2501.08313).
"""

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import LANES, share
from ..language.simd import fma, load, reduce_add, splat, store
from .linear_state import state_sizes

Array = NDArray[np.float32]


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
    q: Array, k: Array, v: Array, decay: Array, state: Array, out: Array, n_tokens: NDArray[np.int64]
) -> Call:
    """The same on buffers (`rows.py`), from the state as it is, which the call changes.

    state (n_heads, d_v, d_k), d_k a multiple of LANES. Raises TypeError or ValueError for arrays that do
    not fit.
    """
    sizes = state_sizes(n_tokens, state, {"v": v, "out": out}, {"q": q, "k": k})
    check_array("decay", decay, (sizes["n_heads"],))
    return _lightning_attention.bind(
        q=q,
        k=k,
        v=v,
        decay=decay,
        state=state,
        out=out,
        n_tokens=n_tokens,
        **sizes,
    )


@kernel(
    Record(
        q=PointerTo(F32),
        k=PointerTo(F32),
        v=PointerTo(F32),
        decay=PointerTo(F32),
        state=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld_v=I64,
        ld_k=I64,
        n_heads=I64,
        d_v=I64,
        d_k=I64,
    )
)
def _lightning_attention(args, thread_id, n_threads):
    d_k = args.d_k
    first, last = share(args.n_heads * args.d_v, thread_id, n_threads)
    for row in range(first, last):  # the rows of a head's state do not meet
        head = row // args.d_v
        state, decay = args.state + row * d_k, args.decay[head]
        for t in range(args.n_tokens[0]):
            offset = t * args.ld_k + head * d_k
            q, k = args.q + offset, args.k + offset
            value = args.v[t * args.ld_v + row]
            total = splat(0.0, F32, LANES)
            for j in range(0, d_k, LANES):
                kept = fma(load(k + j, LANES), value, load(state + j, LANES) * decay)
                store(state + j, kept)
                total = fma(kept, load(q + j, LANES), total)
            args.out[t * args.ld_v + row] = reduce_add(total)
