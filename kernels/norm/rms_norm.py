"""Root-mean-square normalization over the last axis, with a learned gain.

    out[..., i] = x[..., i] / sqrt(mean_j(x[..., j]^2) + eps) * weight[i]

    x, out  (..., n) float32      weight  (n,) float32, or a row for each head      eps  > 0

The reference takes the mean of squares in float64, in which squares of float32 values never overflow. Gemma's
converters have already added the 1 of its "(1 + weight)" to the weight.

Source: Zhang & Sennrich 2019, "Root Mean Square Layer Normalization" (arXiv:1910.07467).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.record import Record
from ..language.rows import LANES, share
from ..language.simd import load, sqrt, store
from .column_groups import WEIGHTED, check_eps, group_offset, sum_of_squares, weighted_arguments


def rms_norm_reference(x: Array, weight: Array, eps: float) -> Array:
    """x (..., n), weight (n,), or (groups, n) for x (..., groups, n) -> (..., n)."""
    check_array("weight", weight, (None,) if weight.ndim != 2 else (None, None))
    check_array("x", x, (*np.shape(x)[: -weight.ndim], *weight.shape))
    check_eps(eps)
    mean_square = np.mean(np.square(x, dtype=np.float64), axis=-1, keepdims=True)
    return x * (1 / np.sqrt(mean_square + eps)).astype(np.float32) * weight


def bind_rms_norm(
    x: Array, weight: Array, out: Array, n_tokens: Count, width: int, eps: float, n_groups: int = 1
) -> Call:
    """out[t] = the norm of x[t, :width], or of each of its `n_groups` equal parts.

    x and out are buffers and may be the same one; weight is (width / n_groups,), or (n_groups, width /
    n_groups). Raises TypeError or ValueError for arrays that do not fit.
    """
    return _rms_norm.bind(**weighted_arguments(x, weight, out, n_tokens, width, eps, n_groups))


@kernel(Record(**WEIGHTED))
def _rms_norm(args, thread_id, n_threads):
    width = args.group_width
    whole = width - width % LANES
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        offset = group_offset(i, args.n_groups, args.ld, width)
        x, out = args.x + offset, args.out + offset
        weight = args.weight + i % args.n_groups * args.weight_stride
        scale = np.float32(1.0 / sqrt(sum_of_squares(x, width) / width + args.eps))
        for j in range(0, whole, LANES):
            store(out + j, load(x + j, LANES) * scale * load(weight + j, LANES))
        for j in range(whole, width):
            out[j] = x[j] * scale * weight[j]
