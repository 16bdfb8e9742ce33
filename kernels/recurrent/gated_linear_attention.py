"""Gated linear attention: a state that decays, each column at its own rate, and adds v k^T.

    S[:, j] = exp(g[t, h, j]) * S[:, j] + v[t, h] k[t, h, j]
    out[t, h] = S q[t, h]                           with the new S, or if `reads_before` with the old one

    q, k, g  (n, n_heads, d_k) float32, g <= 0      v, out  (n, n_heads, d_v)
    S        (n_heads, d_v, d_k) float32: the layer's state, zero at the start of a sequence

If a state is read before it takes in a token, a bonus adds the token's own value:

    out[t, h] = (sum_j q[t, h, j] k[t, h, j] u[h, j]) * v[t, h]         u  (n_heads, d_k) float32

Sources: Yang et al. 2023, "Gated Linear Attention" (arXiv:2312.06635); Peng et al. 2024, "Eagle and Finch"
(arXiv:2404.05892), which reads before.
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import LANES, check_rows, share
from ..language.simd import fma, load, reduce_add, splat, store
from ..language.source import inlined
from .linear_state import check_lanes, state_arguments, state_kernel


def gated_linear_attention_reference(
    q: Array, k: Array, v: Array, g: Array, state: Array, reads_before: bool = False
) -> tuple[Array, Array]:
    """Shapes as above -> out (n, n_heads, d_v), the state after the last token."""
    check_array("q", q, (None, None, None))
    n, n_heads, d_k = q.shape
    check_array("k", k, q.shape)
    check_array("g", g, q.shape)
    check_array("v", v, (n, n_heads, None))
    check_array("state", state, (n_heads, v.shape[2], d_k))
    out = np.empty_like(v)
    for t in range(n):
        before = state
        state = np.exp(g[t])[:, None, :] * state + v[t, :, :, None] * k[t, :, None, :]
        out[t] = ((before if reads_before else state) @ q[t, :, :, None])[:, :, 0]
    return out, state


def bonus_reference(q: Array, k: Array, v: Array, u: Array) -> Array:
    """q, k (n, n_heads, d_k), v (n, n_heads, d_v), u (n_heads, d_k) -> (n, n_heads, d_v)."""
    check_array("q", q, (None, None, None))
    check_array("k", k, q.shape)
    check_array("u", u, q.shape[1:])
    check_array("v", v, (*q.shape[:2], None))
    return (q * k * u).sum(axis=2, keepdims=True) * v


def bind_gated_linear_attention(
    q: Array,
    k: Array,
    v: Array,
    g: Array,
    state: Array,
    out: Array,
    spans: Count,
    reads_before: bool = False,
) -> Call:
    """Gated linear attention on buffers, from the current states, which the call changes.

    state (n_seats, n_heads, d_v, d_k), d_k a multiple of LANES. Raises TypeError or ValueError for arrays
    that do not fit.
    """
    arguments = state_arguments(v, state, out, spans, {"q": q, "k": k, "g": g})
    return _gated_linear_attention.bind(**arguments, reads_before=int(reads_before))


@inlined
def _take_in(args, state, head, t, value):
    offset, reads_before = t * args.ld_k + head * args.d_k, args.reads_before
    q, k, g = args.q + offset, args.k + offset, args.g + offset
    total = splat(0.0, F32, LANES)
    for j in range(0, args.d_k, LANES):
        before = load(state + j, LANES)
        after = fma(load(k + j, LANES), value, before * exp(load(g + j, LANES)))
        store(state + j, after)
        read = before if reads_before else after
        total = fma(read, load(q + j, LANES), total)
    return reduce_add(total)


_gated_linear_attention = state_kernel(_take_in, "gated_linear_attention", "q k g", reads_before=I64)


def bind_bonus(q: Array, k: Array, v: Array, u: Array, out: Array, n_tokens: Count) -> Call:
    """The bonus on buffers; u (n_heads, d_k), v and out as many columns for each head.

    d_k is a multiple of LANES. Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("u", u, (None, None))
    n_heads, d_k = u.shape
    check_rows(n_tokens, n_heads * d_k, q=q, k=k, v=v, out=out)
    check_lanes(d_k)
    return _bonus.bind(
        q=q, k=k, v=v, u=u, out=out, n_tokens=n_tokens, ld=q.shape[1], n_heads=n_heads, d_k=d_k
    )


@kernel(
    Record(
        q=PointerTo(F32),
        k=PointerTo(F32),
        v=PointerTo(F32),
        u=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        n_heads=I64,
        d_k=I64,
    )
)
def _bonus(args, thread_id, n_threads):
    d_k = args.d_k
    first, last = share(args.n_tokens[0] * args.n_heads, thread_id, n_threads)
    for i in range(first, last):
        head = i % args.n_heads
        offset = i // args.n_heads * args.ld + head * d_k
        q, k, v = args.q + offset, args.k + offset, args.v + offset
        out, u = args.out + offset, args.u + head * d_k
        total = splat(0.0, F32, LANES)
        for j in range(0, d_k, LANES):
            total = fma(load(q + j, LANES) * load(k + j, LANES), load(u + j, LANES), total)
        weight = reduce_add(total)
        for j in range(0, d_k, LANES):
            store(out + j, load(v + j, LANES) * weight)
