"""Causal scaled dot-product attention with grouped queries and an optional sliding window.

    score[t, h, s] = scale * sum_i q[t, h, i] * k[s, g(h), i]          g(h) = h // (n_heads / n_kv_heads)
    p[t, h, :]     = softmax over the visible s of score[t, h, :]
    out[t, h, :]   = sum_s p[t, h, s] * v[s, g(h), :]

    s is visible to t  iff  k_positions[s] <= q_positions[t]
                       and  window == 0 or q_positions[t] - k_positions[s] < window

    q  (n, n_heads, d) float32      k  (m, n_kv_heads, d) float32      v  (m, n_kv_heads, dv) float32
    out  (n, n_heads, dv) float32   q_positions (n,), k_positions (m,) integers, in any order

Sources: Vaswani et al. 2017 (arXiv:1706.03762); grouped queries: Ainslie et al. 2023 (arXiv:2305.13245);
sliding window: Beltagy et al. 2020, "Longformer" (arXiv:2004.05150).
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_indices


def visible(
    q_positions: NDArray[np.integer], k_positions: NDArray[np.integer], window: int = 0
) -> NDArray[np.bool_]:
    """q_positions (n,), k_positions (m,) -> (n, m): True where the query may see the key."""
    distance = q_positions[:, None].astype(np.int64) - k_positions[None, :].astype(np.int64)
    return (distance >= 0) & (distance < window) if window else distance >= 0


def attention_reference(
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    q_positions: NDArray[np.integer],
    k_positions: NDArray[np.integer],
    scale: float,
    window: int = 0,
) -> NDArray[np.float32]:
    """q (n, n_heads, d), k (m, n_kv_heads, d), v (m, n_kv_heads, dv) -> (n, n_heads, dv)."""
    check_array("q", q, (None, None, None))
    n, n_heads, d = q.shape
    check_array("k", k, (None, None, d))
    m, n_kv_heads, _ = k.shape
    check_array("v", v, (m, n_kv_heads, None))
    check_indices("q_positions", q_positions, (n,))
    check_indices("k_positions", k_positions, (m,))
    if n_kv_heads == 0 or n_heads % n_kv_heads:
        raise ValueError(f"{n_heads} query heads cannot share {n_kv_heads} key heads evenly")
    if window < 0:
        raise ValueError(f"window must be 0 (none) or more, not {window}")
    mask = visible(q_positions, k_positions, window)
    if not mask.any(axis=1).all():
        raise ValueError("every query must see at least one key")

    # Key head first, so that one batched matrix product serves the group of queries that shares it.
    grouped_q = q.reshape(n, n_kv_heads, -1, d).transpose(1, 2, 0, 3)  # (n_kv_heads, group, n, d)
    scores = grouped_q @ k.transpose(1, 2, 0)[:, None] * np.float32(scale)  # (n_kv_heads, group, n, m)
    scores = np.where(mask, scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    out = weights @ v.transpose(1, 0, 2)[:, None]  # (n_kv_heads, group, n, dv)
    return out.transpose(2, 0, 1, 3).reshape(n, n_heads, -1)
