"""Root-mean-square normalization over the last axis, with a learned gain.

    out[..., i] = x[..., i] / sqrt(mean_j(x[..., j]^2) + eps) * weight[i]

    x, out  (..., n) float32      weight  (n,) float32, or a row for each head      eps  > 0

The mean of squares is taken in float64 here, where squares of float32 values never overflow.
Gemma's converters have already added the 1 of its "(1 + weight)" to the weight.

Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization" (arXiv:1910.07467).
"""

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import check_array
from ..language.pointer import F32, I64, Pointer
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, share
from ..language.simd import fma, load, part, reduce_add, splat, sqrt, store
from ..language.source import inlined


def rms_norm_reference(
    x: NDArray[np.float32], weight: NDArray[np.float32], eps: float
) -> NDArray[np.float32]:
    """x (..., n), weight (n,), or (groups, n) for x (..., groups, n) -> (..., n)."""
    check_array("weight", weight, (None,) if weight.ndim != 2 else (None, None))
    check_array("x", x, (*np.shape(x)[: -weight.ndim], *weight.shape))
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be finite and above 0, not {eps}")
    mean_square = np.mean(np.square(x, dtype=np.float64), axis=-1, keepdims=True)
    return x * (1 / np.sqrt(mean_square + eps)).astype(np.float32) * weight


def bind_rms_norm(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    out: NDArray[np.float32],
    n_tokens: NDArray[np.int64],
    width: int,
    eps: float,
    n_groups: int = 1,
) -> Call:
    """out[t] = the norm of x[t, :width], or of each of its `n_groups` equal parts.

    x and out are buffers (`rows.py`) and may be the same one; weight is (width / n_groups,), or (n_groups,
    width / n_groups).
    Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    if n_groups < 1 or width % n_groups:
        raise ValueError(f"{width} columns do not divide into {n_groups} groups")
    group_width = width // n_groups
    check_array("weight", weight, (group_width,) if weight.ndim != 2 else (n_groups, group_width))
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be finite and above 0, not {eps}")
    return _rms_norm.bind(
        x=x,
        weight=weight,
        out=out,
        n_tokens=n_tokens,
        ld=ld,
        n_groups=n_groups,
        group_width=group_width,
        weight_stride=group_width if weight.ndim == 2 else 0,
        eps=eps,
    )


@inlined
def sum_of_squares(x: Pointer, width: int) -> np.float32:
    """The sum of the squares of `width` values, in lanes first."""
    wide, whole = width - width % 32, width - width % 8
    squares = splat(0.0, F32, 8, 4)
    for j in range(0, wide, 32):
        v = load(x + j, 8, 4, 8)
        squares = fma(v, v, squares)
    total = (part(squares, 0, 1) + part(squares, 1, 1)) + (part(squares, 2, 1) + part(squares, 3, 1))
    for j in range(wide, whole, 8):
        v1 = load(x + j, 8)
        total = fma(v1, v1, total)
    result = reduce_add(total)
    for j in range(whole, width):
        result += x[j] * x[j]
    return result


@kernel(
    Record(
        x=PointerTo(F32),
        weight=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        n_groups=I64,
        group_width=I64,
        weight_stride=I64,
        eps=F32,
    )
)
def _rms_norm(args, thread_id, n_threads):
    width = args.group_width
    whole = width - width % 8
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        offset = i // args.n_groups * args.ld + i % args.n_groups * width
        x, out = args.x + offset, args.out + offset
        weight = args.weight + i % args.n_groups * args.weight_stride
        scale = np.float32(1.0 / sqrt(sum_of_squares(x, width) / width + args.eps))
        for j in range(0, whole, 8):
            store(out + j, load(x + j, 8) * scale * load(weight + j, 8))
        for j in range(whole, width):
            out[j] = x[j] * scale * weight[j]
