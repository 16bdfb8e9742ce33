"""Scaled dot-product attention with grouped queries, in NumPy.

    score[t, h, s] = scale * sum_i q[t, h, i] * k[s, g(h), i]          g(h) = h // (n_heads / n_kv_heads)
    p[t, h, :]     = softmax over the visible s of score[t, h, :]
    out[t, h, :]   = sum_s p[t, h, s] * v[s, g(h), :]

    s is visible to t  iff  k_positions[s] <= q_positions[t], unless attention is not causal
                       and  window == 0 or |q_positions[t] - k_positions[s]| < window
                       and  chunk == 0 or q_positions[t] // chunk == k_positions[s] // chunk

    q  (n, n_heads, d) float32      k  (m, n_kv_heads, d) float32      v  (m, n_kv_heads, dv) float32
    out  (n, n_heads, dv) float32   q_positions (n,), k_positions (m,) integers, in any order

What some models change, before the softmax:

    soft_cap > 0     score = soft_cap * tanh(score / soft_cap)                            (Gemma 2)
    slopes (h,)      score -= slopes[h] * |q_positions[t] - k_positions[s]|, ALiBi        (Bloom, MPT)
    sinks (h,)       the softmax has one more score, sinks[h], whose value is zero        (gpt-oss)

Sources: Vaswani et al. 2017 (arXiv:1706.03762); grouped queries: Ainslie et al. 2023 (arXiv:2305.13245);
sliding window: Beltagy et al. 2020, "Longformer" (arXiv:2004.05150); soft cap: Gemma Team 2024
(arXiv:2408.00118); ALiBi: Press et al. 2021 (arXiv:2108.12409); sinks: Xiao et al. 2023 (arXiv:2309.17453),
learned as in OpenAI 2025 (arXiv:2508.10925).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..language.checks import Array, check_array, check_indices


def visible(
    q_positions: NDArray[np.integer],
    k_positions: NDArray[np.integer],
    window: int = 0,
    chunk: int = 0,
    is_causal: bool = True,
) -> NDArray[np.bool_]:
    """q_positions (n,), k_positions (m,) -> (n, m): True where the query may see the key."""
    q, k = q_positions[:, None].astype(np.int64), k_positions[None, :].astype(np.int64)
    mask = (q >= k) | (not is_causal)
    if window:
        mask &= np.abs(q - k) < window
    if chunk:
        mask &= q // chunk == k // chunk
    return mask


def alibi_slopes(n_heads: int, max_bias: float) -> Array:
    """(n_heads,): a geometric series from 2^(-max_bias / n) on, n the power of two at or below n_heads.

    Heads beyond n take every second term of the series for 2 n heads.
    """
    n = 1 << (n_heads.bit_length() - 1)
    head = np.arange(n_heads)
    exponent = np.where(head < n, (head + 1) / n, (2 * (head - n) + 1) / (2 * n))
    return (2.0 ** (-max_bias * exponent)).astype(np.float32)


def attention_probs_reference(
    q: Array,
    k: Array,
    q_positions: NDArray[np.integer],
    k_positions: NDArray[np.integer],
    scale: float,
    window: int = 0,
    *,
    chunk: int = 0,
    soft_cap: float = 0.0,
    slopes: Array | None = None,
    sinks: Array | None = None,
    is_causal: bool = True,
) -> Array:
    """q (n, n_heads, d), k (m, n_kv_heads, d) -> p (n, n_heads, m)."""
    check_array("q", q, (None, None, None))
    n, n_heads, d = q.shape
    check_array("k", k, (None, None, d))
    m, n_kv_heads, _ = k.shape
    check_indices("q_positions", q_positions, (n,))
    check_indices("k_positions", k_positions, (m,))
    if n_kv_heads == 0 or n_heads % n_kv_heads:
        raise ValueError(f"{n_heads} query heads cannot share {n_kv_heads} key heads evenly")
    if window < 0:
        raise ValueError(f"window must be 0 (none) or more, not {window}")
    mask = visible(q_positions, k_positions, window, chunk, is_causal)
    if not mask.any(axis=1).all():
        raise ValueError("every query must see at least one key")

    def per_head(values: Array, name: str) -> Array:
        check_array(name, values, (n_heads,))
        return values.reshape(n_kv_heads, -1, 1, 1)

    # Key head first, so that one batched matrix product serves the group of queries that share it.
    grouped_q = q.reshape(n, n_kv_heads, -1, d).transpose(1, 2, 0, 3)  # (n_kv_heads, group, n, d)
    scores = grouped_q @ k.transpose(1, 2, 0)[:, None] * np.float32(scale)  # (n_kv_heads, group, n, m)
    if soft_cap:
        scores = np.float32(soft_cap) * np.tanh(scores / np.float32(soft_cap))
    if slopes is not None:
        distance = np.abs(q_positions[:, None] - k_positions).astype(np.float32)
        scores = scores - per_head(slopes, "slopes") * distance
    scores = np.where(mask, scores, np.float32(-np.inf))
    highest = scores.max(axis=-1, keepdims=True)
    if sinks is not None:
        highest = np.maximum(highest, per_head(sinks, "sinks"))
    weights = np.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(per_head(sinks, "sinks") - highest)
    return (weights / total).transpose(2, 0, 1, 3).reshape(n, n_heads, m)


def gather_reference(p: Array, v: Array) -> Array:
    """p (n, n_heads, m), v (m, n_kv_heads, dv) -> (n, n_heads, dv)."""
    check_array("p", p, (None, None, None))
    n, n_heads, m = p.shape
    check_array("v", v, (m, None, None))
    grouped = p.reshape(n, v.shape[1], -1, m).transpose(1, 2, 0, 3)
    out = grouped @ v.transpose(1, 0, 2)[:, None]  # (n_kv_heads, group, n, dv)
    return out.transpose(2, 0, 1, 3).reshape(n, n_heads, -1)


def attention_reference(
    q: Array,
    k: Array,
    v: Array,
    q_positions: NDArray[np.integer],
    k_positions: NDArray[np.integer],
    scale: float,
    window: int = 0,
    **more: Any,
) -> Array:
    """q (n, n_heads, d), k (m, n_kv_heads, d), v (m, n_kv_heads, dv) -> (n, n_heads, dv); `more` as above."""
    check_array("v", v, (*k.shape[:2], None))
    p = attention_probs_reference(q, k, q_positions, k_positions, scale, window, **more)
    return gather_reference(p, v)
