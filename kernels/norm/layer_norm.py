"""Layer normalization: each row is shifted to mean 0, scaled to deviation 1, then scaled and shifted.

    out[..., i] = (x[..., i] - mean) / sqrt(mean_j (x[..., j] - mean)^2 + eps) * weight[i] + bias[i]

    x, out  (..., n) float32      weight, bias  (n,) float32, or as many rows of n as x's last axis but one

The reference sums mean and variance in float64 and rounds to float32 once; the kernel sums in float32.

Source: Ba, Kiros & Hinton 2016, "Layer Normalization" (arXiv:1607.06450).
"""

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import check_array
from ..language.pointer import F32, I64, Pointer
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, share
from ..language.simd import fma, load, reduce_add, splat, sqrt, store
from ..language.source import inlined


def layer_norm_reference(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    eps: float,
) -> NDArray[np.float32]:
    """x (..., n), weight and bias (n,) or (groups, n) -> (..., n)."""
    check_array("x", x, (*np.shape(x)[:-1], weight.shape[-1]))
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be finite and above 0, not {eps}")
    centred = x - x.mean(axis=-1, keepdims=True, dtype=np.float64)
    variance = np.mean(np.square(centred), axis=-1, keepdims=True)
    out = (centred / np.sqrt(variance + eps)).astype(np.float32) * weight
    return out if bias is None else out + bias


def bind_layer_norm(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    out: NDArray[np.float32],
    n_tokens: NDArray[np.int64],
    width: int,
    eps: float,
    n_groups: int = 1,
) -> Call:
    """out[t] = the norm of x[t, :width], or of each of its `n_groups` equal parts.

    x and out are buffers (`rows.py`) and may be the same one; weight and bias are (width / n_groups,)
    each, or (n_groups, width / n_groups). Raises TypeError or ValueError for arrays that do not fit.
    """
    _, ld = check_rows(n_tokens, width, x=x, out=out)
    if n_groups < 1 or width % n_groups:
        raise ValueError(f"{width} columns do not divide into {n_groups} groups")
    group_width = width // n_groups
    if weight.shape not in ((group_width,), (n_groups, group_width)) or bias.shape != weight.shape:
        raise ValueError(f"weight {weight.shape} and bias {bias.shape} do not fit groups of {group_width}")
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be finite and above 0, not {eps}")
    return _layer_norm.bind(
        x=x,
        weight=weight,
        bias=bias,
        out=out,
        n_tokens=n_tokens,
        ld=ld,
        n_groups=n_groups,
        group_width=group_width,
        weight_stride=group_width if weight.ndim == 2 else 0,
        eps=eps,
    )


@inlined
def sum_of_values(x: Pointer, width: int) -> np.float32:
    whole = width - width % 8
    total = splat(0.0, F32, 8)
    for j in range(0, whole, 8):
        total = total + load(x + j, 8)
    result = reduce_add(total)
    for j in range(whole, width):
        result += x[j]
    return result


@inlined
def sum_of_squared_distances(x: Pointer, mean: np.float32, width: int) -> np.float32:
    whole = width - width % 8
    total = splat(0.0, F32, 8)
    for j in range(0, whole, 8):
        distance = load(x + j, 8) - mean
        total = fma(distance, distance, total)
    result = reduce_add(total)
    for j in range(whole, width):
        result += (x[j] - mean) * (x[j] - mean)
    return result


@kernel(
    Record(
        x=PointerTo(F32),
        weight=PointerTo(F32),
        bias=PointerTo(F32),
        out=PointerTo(F32),
        n_tokens=PointerTo(I64),
        ld=I64,
        n_groups=I64,
        group_width=I64,
        weight_stride=I64,
        eps=F32,
    )
)
def _layer_norm(args, thread_id, n_threads):
    width = args.group_width
    whole = width - width % 8
    first, last = share(args.n_tokens[0] * args.n_groups, thread_id, n_threads)
    for i in range(first, last):
        group = i % args.n_groups
        offset = i // args.n_groups * args.ld + group * width
        x, out = args.x + offset, args.out + offset
        weight, bias = args.weight + group * args.weight_stride, args.bias + group * args.weight_stride
        mean = np.float32(sum_of_values(x, width) / width)
        variance = sum_of_squared_distances(x, mean, width) / width
        scale = np.float32(1.0 / sqrt(variance + args.eps))
        for j in range(0, whole, 8):
            store(out + j, fma((load(x + j, 8) - mean) * scale, load(weight + j, 8), load(bias + j, 8)))
        for j in range(whole, width):
            out[j] = (x[j] - mean) * scale * weight[j] + bias[j]
