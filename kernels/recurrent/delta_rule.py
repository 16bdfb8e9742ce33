"""Gated delta rule: linear attention whose state decays and is corrected by what it recalls.

    S[:, j] = exp(g[t, h, j]) * S[:, j]                           decay: g <= 0
    d = beta[t, h] * (v[t, h] - S k[t, h])                        the error of what S recalls for k
    S = S + d k[t, h]^T
    out[t, h] = S q[t, h] / sqrt(d_k)

    q, k  (n, n_k_heads, d_k) float32, of length 1      v, out  (n, n_heads, d_v)      beta  (n, n_heads)
    g     (n, n_heads, 1), or (n, n_heads, d_k) for Kimi Delta Attention
    S     (n_heads, d_v, d_k) float32: the layer's state, zero at the start of a sequence

Head h reads the queries and keys of head h % n_k_heads; if grouped, of head h // (n_heads / n_k_heads).

Sources: Yang, Kautz & Hatamizadeh 2024, "Gated Delta Networks" (arXiv:2412.06464); Kimi Team 2025, "Kimi
Linear" (arXiv:2510.26692).
"""

import numpy as np

from ..jit.kernel import Call
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64
from ..language.rows import LANES, buffer_arguments
from ..language.simd import fma, load, reduce_add, splat, store
from ..language.source import inlined
from .linear_state import state_arguments, state_kernel


def delta_rule_reference(
    q: Array, k: Array, v: Array, g: Array, beta: Array, state: Array, is_grouped: bool = False
) -> tuple[Array, Array]:
    """Shapes as above -> out (n, n_heads, d_v), the state after the last token."""
    check_array("q", q, (None, None, None))
    n, n_k_heads, d_k = q.shape
    check_array("k", k, q.shape)
    check_array("v", v, (n, None, None))
    _, n_heads, d_v = v.shape
    check_array("g", g, (n, n_heads, None))
    check_array("beta", beta, (n, n_heads))
    check_array("state", state, (n_heads, d_v, d_k))
    if n_k_heads == 0 or n_heads % n_k_heads:
        raise ValueError(f"{n_heads} value heads cannot share {n_k_heads} key heads evenly")
    key_head = np.arange(n_heads) // (n_heads // n_k_heads) if is_grouped else np.arange(n_heads) % n_k_heads
    q, k = q[:, key_head], k[:, key_head]
    q = q * np.float32(d_k**-0.5)
    decay = np.exp(g)
    out = np.empty_like(v)
    for t in range(n):
        state = decay[t, :, None, :] * state
        recalled = (state @ k[t, :, :, None])[:, :, 0]
        correction = beta[t, :, None] * (v[t] - recalled)
        state = state + correction[:, :, None] * k[t, :, None, :]
        out[t] = (state @ q[t, :, :, None])[:, :, 0]
    return out, state


def bind_delta_rule(
    q: Array,
    k: Array,
    v: Array,
    g: Array,
    beta: Array,
    state: Array,
    out: Array,
    spans: Count,
    n_k_heads: int,
    is_grouped: bool = False,
    n_rates: int = 1,
) -> Call:
    """The delta rule on buffers, from the current states, which the call changes.

    state (n_seats, n_heads, d_v, d_k), d_k a multiple of LANES; g has `n_rates` columns for each head, 1 or
    d_k. Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("state", state, (None, None, None, None))
    _, n_heads, d_v, d_k = state.shape
    if n_k_heads < 1 or n_heads % n_k_heads:
        raise ValueError(f"{n_heads} value heads cannot share {n_k_heads} key heads evenly")
    if n_rates not in (1, d_k):
        raise ValueError(f"a head of keys of {d_k} cannot have {n_rates} decays")
    arguments = state_arguments(v, state, out, spans, {"q": q, "k": k}, n_k_heads)
    rows = buffer_arguments(spans, v=(v, n_heads * d_v), g=(g, n_heads * n_rates), beta=(beta, n_heads))
    return _delta_rule.bind(
        **(arguments | rows),
        n_k_heads=n_k_heads,
        n_neighbours=n_heads // n_k_heads if is_grouped else 1,
        n_rates=n_rates,
        scale=d_k**-0.5,
    )


@inlined
def _take_in(args, state, head, t, wanted):
    d_k, n_rates = args.d_k, args.n_rates
    key = t * args.ld_k + head // args.n_neighbours % args.n_k_heads * d_k
    q, k, g = args.q + key, args.k + key, args.g + (t * args.ld_g + head * n_rates)
    decay = exp(splat(g[0], F32, LANES))
    recalled = splat(0.0, F32, LANES)
    for j in range(0, d_k, LANES):
        if n_rates > 1:
            decay = exp(load(g + j, LANES))
        value = load(state + j, LANES) * decay
        store(state + j, value)
        recalled = fma(value, load(k + j, LANES), recalled)
    correction = args.beta[t * args.ld_beta + head] * (wanted - reduce_add(recalled))
    total = splat(0.0, F32, LANES)
    for j in range(0, d_k, LANES):
        value = fma(load(k + j, LANES), correction, load(state + j, LANES))
        store(state + j, value)
        total = fma(value, load(q + j, LANES), total)
    return reduce_add(total) * args.scale


_SIZES = dict.fromkeys(("ld_g", "ld_beta", "n_k_heads", "n_neighbours", "n_rates"), I64)
_delta_rule = state_kernel(_take_in, "delta_rule", "q k g beta", **_SIZES, scale=F32)
