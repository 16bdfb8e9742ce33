"""L2 normalization: each head's vector is scaled to length 1.

    out[..., i] = x[..., i] / sqrt(sum_j x[..., j]^2 + eps)

    x, out  (..., n) float32; the reference's sum is float64, rounded once

Source: Yang et al. 2024, "Gated Delta Networks" (arXiv:2412.06464), section 3.4.
"""

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, share
from ..language.simd import load, sqrt, store
from .rms_norm import sum_of_squares


def l2_norm_reference(x: NDArray[np.float32], eps: float) -> NDArray[np.float32]:
    """x (..., n) -> (..., n)."""
    check_array("x", x, np.shape(x))
    total = np.sum(np.square(x, dtype=np.float64), axis=-1, keepdims=True)
    return x * (1 / np.sqrt(total + eps)).astype(np.float32)


def bind_l2_norm(
    x: NDArray[np.float32],
    out: NDArray[np.float32],
    n_tokens: NDArray[np.int64],
    width: int,
    eps: float,
    n_groups: int,
) -> Call:
    """The same for each of n_groups equal parts of a row, on buffers (`rows.py`) of `width` columns.

    Raises TypeError or ValueError for what does not fit.
    """
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    if n_groups < 1 or width % n_groups:
        raise ValueError(f"{width} columns do not divide into {n_groups} groups")
    return _l2_norm.bind(
        x=x, out=out, n_tokens=n_tokens, ld=ld, n_groups=n_groups, group_width=width // n_groups, eps=eps
    )


@kernel(
    Record(
        x=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        n_groups=I64,
        group_width=I64,
        eps=F32,
    )
)
def _l2_norm(args, thread_id, n_threads):
    width = args.group_width
    whole = width - width % 8
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        offset = i // args.n_groups * args.ld + i % args.n_groups * width
        x, out = args.x + offset, args.out + offset
        scale = np.float32(1.0 / sqrt(sum_of_squares(x, width) + args.eps))
        for j in range(0, whole, 8):
            store(out + j, load(x + j, 8) * scale)
        for j in range(whole, width):
            out[j] = x[j] * scale
