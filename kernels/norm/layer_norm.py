"""Layer normalization: each row is shifted to mean 0, scaled to deviation 1, then scaled and shifted.

    out[..., i] = (x[..., i] - mean) / sqrt(mean_j (x[..., j] - mean)^2 + eps) * weight[i] + bias[i]

    x, out  (..., n) float32      weight, bias  (n,) float32, or (groups, n) for x (..., groups, n)

The reference sums mean and variance in float64 and rounds to float32 once; the kernel sums in float32.

Source: Ba, Kiros & Hinton 2016, "Layer Normalization" (arXiv:1607.06450).
"""

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32
from ..language.record import PointerTo, Record
from ..language.rows import LANES, share
from ..language.simd import fma, load, sqrt, store
from .column_groups import (
    WEIGHTED,
    check_eps,
    group_offset,
    sum_of_squared_distances,
    sum_of_values,
    weighted_arguments,
)


def layer_norm_reference(x: Array, weight: Array, bias: Array | None, eps: float) -> Array:
    """x (..., n), weight and bias (n,) or (groups, n) -> (..., n)."""
    check_array("x", x, (*np.shape(x)[:-1], weight.shape[-1]))
    check_eps(eps)
    centred = x - x.mean(axis=-1, keepdims=True, dtype=np.float64)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True)
    out = (centred / np.sqrt(variance + eps)).astype(np.float32) * weight
    return out if bias is None else out + bias


def bind_layer_norm(
    x: Array,
    weight: Array,
    bias: Array,
    out: Array,
    n_tokens: Count,
    width: int,
    eps: float,
    n_groups: int = 1,
) -> Call:
    """out[t] = the norm of x[t, :width], or of each of its `n_groups` equal parts.

    x and out are buffers and may be the same one; weight and bias are (width / n_groups,)
    each, or (n_groups, width / n_groups). Raises TypeError or ValueError for arrays that do not fit.
    """
    arguments = weighted_arguments(x, weight, out, n_tokens, width, eps, n_groups)
    check_array("bias", bias, weight.shape)
    return _layer_norm.bind(**arguments, bias=bias)


@kernel(Record(**WEIGHTED, bias=PointerTo(F32)))
def _layer_norm(args, thread_id, n_threads):
    width = args.group_width
    whole = width - width % LANES
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        offset, own = group_offset(i, args.n_groups, args.ld, width), i % args.n_groups * args.weight_stride
        x, out, weight, bias = args.x + offset, args.out + offset, args.weight + own, args.bias + own
        mean = np.float32(sum_of_values(x, width) / width)
        variance = sum_of_squared_distances(x, mean, width) / width
        scale = np.float32(1.0 / sqrt(variance + args.eps))
        for j in range(0, whole, LANES):
            centred = (load(x + j, LANES) - mean) * scale
            store(out + j, fma(centred, load(weight + j, LANES), load(bias + j, LANES)))
        for j in range(whole, width):
            out[j] = (x[j] - mean) * scale * weight[j] + bias[j]
