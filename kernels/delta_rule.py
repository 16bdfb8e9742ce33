"""Gated delta rule: linear attention whose state forgets, and corrects what it would have recalled.

    S = exp(g[t, h]) * S                                          forget: g <= 0
    d = beta[t, h] * (v[t, h] - S k[t, h])                        the error of what S recalls for k
    S = S + d k[t, h]^T
    out[t, h] = S q[t, h] / sqrt(d_k)

    q, k  (n, n_k_heads, d_k) float32, of length 1      v, out  (n, n_heads, d_v)      g, beta  (n, n_heads)
    S     (n_heads, d_v, d_k) float32: the layer's state, zero at the start of a sequence

Head h reads the queries and keys of head h % n_k_heads.

Source: Yang, Kautz & Hatamizadeh 2024, "Gated Delta Networks" (arXiv:2412.06464).
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array

Array = NDArray[np.float32]


def delta_rule_reference(
    q: Array, k: Array, v: Array, g: Array, beta: Array, state: Array
) -> tuple[Array, Array]:
    """Shapes as above -> out (n, n_heads, d_v), the state after the last token."""
    check_array("q", q, (None, None, None))
    n, n_k_heads, d_k = q.shape
    check_array("k", k, q.shape)
    check_array("v", v, (n, None, None))
    _, n_heads, d_v = v.shape
    check_array("g", g, (n, n_heads))
    check_array("beta", beta, (n, n_heads))
    check_array("state", state, (n_heads, d_v, d_k))
    if n_k_heads == 0 or n_heads % n_k_heads:
        raise ValueError(f"{n_heads} value heads cannot share {n_k_heads} key heads evenly")
    q, k = (np.tile(part, (1, n_heads // n_k_heads, 1)) for part in (q, k))
    q = q * np.float32(d_k**-0.5)
    decay = np.exp(g)
    out = np.empty_like(v)
    for t in range(n):
        state = decay[t, :, None, None] * state
        recalled = (state @ k[t, :, :, None])[:, :, 0]
        correction = beta[t, :, None] * (v[t] - recalled)
        state = state + correction[:, :, None] * k[t, :, None, :]
        out[t] = (state @ q[t, :, :, None])[:, :, 0]
    return out, state
