"""Generalized delta rule: a state that decays, each column at its own rate, moves what it recalls for one
vector to another, and adds v k^T.

    r = S a[t, h]                                                 recalled, before the decay
    S[:, j] = exp(g[t, h, j]) * S[:, j] + r b[t, h, j] + v[t, h] k[t, h, j]
    out[t, h] = S q[t, h]

    q, k, a, b, g  (n, n_heads, d_k) float32, g <= 0      v, out  (n, n_heads, d_v)
    S     (n_heads, d_v, d_k) float32: the layer's state, zero at the start of a sequence

Source: Peng et al. 2025, "RWKV-7 Goose" (arXiv:2503.14456).
"""

import numpy as np

from ..jit.kernel import Call
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32
from ..language.rows import LANES
from ..language.simd import fma, load, reduce_add, splat, store
from ..language.source import inlined
from .linear_state import state_arguments, state_kernel


def generalized_delta_rule_reference(
    q: Array, k: Array, v: Array, a: Array, b: Array, g: Array, state: Array
) -> tuple[Array, Array]:
    """Shapes as above -> out (n, n_heads, d_v), the state after the last token."""
    check_array("q", q, (None, None, None))
    n, n_heads, d_k = q.shape
    for name, part in (("k", k), ("a", a), ("b", b), ("g", g)):
        check_array(name, part, q.shape)
    check_array("v", v, (n, n_heads, None))
    check_array("state", state, (n_heads, v.shape[2], d_k))
    out = np.empty_like(v)
    for t in range(n):
        recalled = state @ a[t, :, :, None]
        state = np.exp(g[t])[:, None, :] * state + recalled * b[t, :, None, :]
        state = state + v[t, :, :, None] * k[t, :, None, :]
        out[t] = (state @ q[t, :, :, None])[:, :, 0]
    return out, state


def bind_generalized_delta_rule(
    q: Array, k: Array, v: Array, a: Array, b: Array, g: Array, state: Array, out: Array, spans: Count
) -> Call:
    """The generalized delta rule on buffers, from the current states, which the call changes.

    state (n_seats, n_heads, d_v, d_k), d_k a multiple of LANES. Raises TypeError or ValueError for arrays
    that do not fit.
    """
    keys = {"q": q, "k": k, "a": a, "b": b, "g": g}
    return _generalized_delta_rule.bind(**state_arguments(v, state, out, spans, keys))


@inlined
def _take_in(args, state, head, t, value):
    offset = t * args.ld_k + head * args.d_k
    q, k, g = args.q + offset, args.k + offset, args.g + offset
    a, b = args.a + offset, args.b + offset
    recalled = splat(0.0, F32, LANES)
    for j in range(0, args.d_k, LANES):
        recalled = fma(load(state + j, LANES), load(a + j, LANES), recalled)
    moved, total = reduce_add(recalled), splat(0.0, F32, LANES)
    for j in range(0, args.d_k, LANES):
        kept = fma(load(b + j, LANES), moved, load(state + j, LANES) * exp(load(g + j, LANES)))
        kept = fma(load(k + j, LANES), value, kept)
        store(state + j, kept)
        total = fma(kept, load(q + j, LANES), total)
    return reduce_add(total)


_generalized_delta_rule = state_kernel(_take_in, "generalized_delta_rule", "q k a b g")
