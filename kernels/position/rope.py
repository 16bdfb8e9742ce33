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

import numpy as np
from numpy.typing import NDArray

from ..choices import Pairing
from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array, check_indices
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, copy_row, share
from ..language.simd import evens, interleave, load, odds, store


def rope_angles(
    positions: NDArray[np.integer], inv_freq: NDArray[np.float64], scale: float = 1.0
) -> tuple[Array, Array]:
    """positions (n,), inv_freq (n_rot / 2,) -> scale * cos, scale * sin, each (n, n_rot / 2) float32."""
    check_indices("positions", positions, (None,))
    check_array("inv_freq", inv_freq, (None,), np.float64)
    angles = positions[:, None].astype(np.float64) * inv_freq
    return (scale * np.cos(angles)).astype(np.float32), (scale * np.sin(angles)).astype(np.float32)


def rope_reference(x: Array, cos: Array, sin: Array, pairing: Pairing) -> Array:
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


def bind_rope(
    x: Array,
    cos: Array,
    sin: Array,
    out: Array,
    n_tokens: Count,
    n_heads: int,
    head_dim: int,
    pairing: Pairing,
) -> Call:
    """x and out: buffers of width n_heads * head_dim, which may be the same one.

    cos, sin: (n_max_tokens, n_rot / 2), of which each step fills the rows of its tokens.
    Raises TypeError or ValueError for arrays that do not fit.
    """
    n_max_tokens, ld = check_rows(n_tokens, n_heads * head_dim, x=x, out=out)
    check_array("cos", cos, (n_max_tokens, None))
    check_array("sin", sin, cos.shape)
    half = cos.shape[1]
    if 2 * half > head_dim:
        raise ValueError(f"cos rotates {2 * half} values, but a head has {head_dim}")
    if pairing not in _ROPE:
        raise ValueError(f"pairing must be 'norm' or 'neox', not {pairing!r}")
    return _ROPE[pairing].bind(
        x=x,
        cos=cos,
        sin=sin,
        out=out,
        n_tokens=n_tokens,
        ld=ld,
        n_heads=n_heads,
        head_dim=head_dim,
        half=half,
    )


_RECORD = Record(
    x=PointerTo(F32),
    cos=PointerTo(F32),
    sin=PointerTo(F32),
    out=PointerTo(F32),
    n_tokens=PointerTo(I64),
    ld=I64,
    n_heads=I64,
    head_dim=I64,
    half=I64,
)


def _kernel_of(pairing: Pairing) -> Kernel:
    """The kernel for a pairing, which is a compile-time constant in it."""
    is_norm = pairing == "norm"

    @kernel(_RECORD, f"rope_{pairing}")
    def rope(args, thread_id, n_threads):
        half = args.half
        whole = half - half % 8
        first, last = share(args.n_tokens[0] * args.n_heads, thread_id, n_threads)
        for i in range(first, last):
            token = i // args.n_heads
            offset = token * args.ld + i % args.n_heads * args.head_dim
            x, out = args.x + offset, args.out + offset
            cos, sin = args.cos + token * half, args.sin + token * half
            for j in range(0, whole, 8):
                c, s = load(cos + j, 8), load(sin + j, 8)
                if is_norm:
                    pairs = load(x + 2 * j, 16)
                    a, b = evens(pairs), odds(pairs)
                    store(out + 2 * j, interleave(a * c - b * s, a * s + b * c))
                else:
                    a, b = load(x + j, 8), load(x + half + j, 8)
                    store(out + j, a * c - b * s)
                    store(out + half + j, a * s + b * c)
            for j in range(whole, half):
                at_a, at_b = (2 * j, 2 * j + 1) if is_norm else (j, half + j)
                x_a, x_b = x[at_a], x[at_b]
                out[at_a] = x_a * cos[j] - x_b * sin[j]
                out[at_b] = x_a * sin[j] + x_b * cos[j]
            copy_row(x + 2 * half, out + 2 * half, args.head_dim - 2 * half)

    return rope


_ROPE: dict[str, Kernel] = {"norm": _kernel_of("norm"), "neox": _kernel_of("neox")}
