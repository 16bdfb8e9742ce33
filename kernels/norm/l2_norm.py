"""L2 normalization: each head's vector is scaled to length 1.

    out[..., i] = x[..., i] / sqrt(sum_j x[..., j]^2 + eps)

    x, out  (..., n) float32; the reference's sum is float64, rounded once

Source: Yang et al. 2024, "Gated Delta Networks" (arXiv:2412.06464), section 3.4.
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.record import Record
from ..language.rows import scale_row, share
from ..language.simd import sqrt
from .column_groups import GROUPS, group_arguments, group_offset, sum_of_squares


def l2_norm_reference(x: Array, eps: float) -> Array:
    """x (..., n) -> (..., n)."""
    check_array("x", x, np.shape(x))
    total = np.sum(np.square(x, dtype=np.float64), axis=-1, keepdims=True)
    return x * (1 / np.sqrt(total + eps)).astype(np.float32)


def bind_l2_norm(x: Array, out: Array, n_tokens: Count, width: int, eps: float, n_groups: int) -> Call:
    """The norm of each of n_groups equal parts of a row, on buffers of `width` columns.

    Raises TypeError or ValueError for what does not fit.
    """
    return _l2_norm.bind(**group_arguments(x, out, n_tokens, width, eps, n_groups))


@kernel(Record(**GROUPS))
def _l2_norm(args, thread_id, n_threads):
    width = args.group_width
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        offset = group_offset(i, args.n_groups, args.ld, width)
        scale = np.float32(1.0 / sqrt(sum_of_squares(args.x + offset, width) + args.eps))
        scale_row(args.x + offset, args.out + offset, scale, width)
