"""Rotary position embedding: pairs of a head's values are rotated by an angle that grows with the position.

    angle[t, i] = position[t] * inv_freq[i]          inv_freq[i] = base^(-2 i / n_rot), i < n_rot / 2
    out[t, h, a] = x[t, h, a] * cos[t, i] - x[t, h, b] * sin[t, i]
    out[t, h, b] = x[t, h, a] * sin[t, i] + x[t, h, b] * cos[t, i]

    pairing "norm": (a, b) = (2 i, 2 i + 1), neighbours        (Llama as GGUF stores it)
    pairing "neox": (a, b) = (i, i + n_rot / 2), two halves    (GPT-NeoX, Gemma, Qwen)

    x, out  (n, n_heads, head_dim) float32; values from n_rot on, if any, pass through unchanged
    cos, sin  (n, n_rot / 2) float32

Angles are products of float64: at position 100,000 a float32 angle would be wrong by up to 0.004 radians.

Source: Su et al. 2021, "RoFormer" (arXiv:2104.09864), section 3.2.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .checks import check_array, check_indices

Pairing = Literal["norm", "neox"]


def rope_angles(
    positions: NDArray[np.integer], inv_freq: NDArray[np.float64], scale: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """positions (n,), inv_freq (n_rot / 2,) -> scale * cos, scale * sin, each (n, n_rot / 2) float32."""
    check_indices("positions", positions, (None,))
    check_array("inv_freq", inv_freq, (None,), np.float64)
    angles = positions[:, None].astype(np.float64) * inv_freq
    return (scale * np.cos(angles)).astype(np.float32), (scale * np.sin(angles)).astype(np.float32)


def rope_reference(
    x: NDArray[np.float32], cos: NDArray[np.float32], sin: NDArray[np.float32], pairing: Pairing
) -> NDArray[np.float32]:
    """x (n, n_heads, head_dim), cos and sin (n, n_rot / 2) -> (n, n_heads, head_dim)."""
    check_array("x", x, (None, None, None))
    check_array("cos", cos, (len(x), None))
    check_array("sin", sin, cos.shape)
    half = cos.shape[1]
    if 2 * half > x.shape[2]:
        raise ValueError(f"cos rotates {2 * half} values, but a head has {x.shape[2]}")
    if pairing == "norm":
        a, b = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    elif pairing == "neox":
        a, b = slice(0, half), slice(half, 2 * half)
    else:
        raise ValueError(f"pairing must be 'norm' or 'neox', not {pairing!r}")
    cos, sin = cos[:, None, :], sin[:, None, :]
    out = x.copy()
    out[..., a] = x[..., a] * cos - x[..., b] * sin
    out[..., b] = x[..., a] * sin + x[..., b] * cos
    return out
