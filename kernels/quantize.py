"""Activations in 8 bits: one float32 scale for every 32 values, and the sums that weight offsets need.

    scale = max |x| / 127     q = round(x / scale)
    sum = factor * Σ q over the 32     half = factor * Σ q over the first 16

    x      (n, ld) float32, the first n_in columns count       q     (n, n_in) int8
    scale  (n, n_in / 32) float32                               sum   (n, n_in / 32) int32,  half the same

Weights are `scale_w * (level - offset)`, so Σ w x = scale_w * scale * (Σ level q - offset * Σ q): offsets
and minima cost one product for every 32; `factor` is what the layout of the weights wants
(`Layout.sum_factor`). A block that holds NaN or infinity gets the scale NaN, so that its products are NaN.
This is the Q8_0 / Q8_1 rule of ggml, but with a float32 scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .checks import check_array
from .kernel import Call, kernel
from .pointer import F32, I8, I32, I64
from .record import PointerTo, Record
from .rows import check_step, share
from .simd import (
    absolute,
    load,
    maximum,
    part,
    reduce_add,
    reduce_max,
    round_to_i32,
    splat,
    store,
    to_i8,
)

SMALLEST = np.float32(3.8e-37)
"""Blocks up to here become zero: 127 / largest would be infinite below 3.73e-37."""


def quantize_reference(x: NDArray[np.float32], factor: int = 1) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """x (n, n_in) -> q (n, n_in) int8, scale, sum, half (n, n_in / 32)."""
    check_array("x", x, (None, None))
    if x.shape[1] % 32:
        raise ValueError(f"x has {x.shape[1]} columns; blocks of 32 are needed")
    blocks = x.reshape(len(x), -1, 32)
    largest = np.abs(blocks).max(axis=2)
    with np.errstate(all="ignore"):
        inverse = np.where(largest > SMALLEST, np.float32(127) / largest, np.float32(0))
        levels = np.rint(blocks * inverse[..., None])
        scale = np.where(np.isfinite(largest), largest * np.float32(1 / 127), np.float32("nan"))
    q = np.where(np.isfinite(levels), levels, 0).astype(np.int8)
    sums, half = (part.sum(axis=2, dtype=np.int32) * np.int32(factor) for part in (q, q[..., :16]))
    return q.reshape(x.shape), scale.astype(np.float32), sums, half


QUANTIZE = Record(
    x=PointerTo(F32),
    q=PointerTo(I8),
    scale=PointerTo(F32),
    sum=PointerTo(I32),
    half=PointerTo(I32),
    step=PointerTo(I64),
    n_in=I64,
    ld=I64,
    factor=I64,
)


@kernel(QUANTIZE)
def quantize(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    """Blocks are dealt out over all tokens: block b of token t is number t * n_blocks + b."""
    n_blocks = args.n_in // 32
    first_block, last_block = share(args.step[0] * n_blocks, thread_id, n_threads)
    t, b = first_block // n_blocks, first_block % n_blocks
    for i in range(first_block, last_block):
        x = load(args.x + (t * args.ld + b * 32), 8, 4, 8)
        b += 1
        if b == n_blocks:
            t, b = t + 1, 0
        magnitude = absolute(x)
        two = maximum(part(magnitude, 0, 2), part(magnitude, 2, 2))
        largest = reduce_max(maximum(part(two, 0, 1), part(two, 1, 1)))
        zero = splat(0.0, F32, 8)
        spoiled = x * zero  # NaN where x is NaN or infinite, else 0
        spoiled = part(spoiled, 0, 2) + part(spoiled, 2, 2)
        spoiled = part(spoiled, 0, 1) + part(spoiled, 1, 1)
        inverse = np.float32(0.0)
        if largest > SMALLEST:
            inverse = np.float32(127.0) / largest
        levels = round_to_i32(x * splat(inverse, F32, 8))
        store(args.q + i * 32, to_i8(levels), 8)
        first = reduce_add(part(levels, 0, 1) + part(levels, 1, 1))
        second = reduce_add(part(levels, 2, 1) + part(levels, 3, 1))
        args.scale[i] = largest * np.float32(1 / 127) + reduce_add(spoiled)
        args.sum[i] = (first + second) * args.factor
        args.half[i] = first * args.factor


def bind_quantize(
    x: NDArray[np.float32],
    q: NDArray[np.int8],
    scale: NDArray[np.float32],
    sums: NDArray[np.int32],
    half: NDArray[np.int32],
    step: NDArray[np.int64],
    n_in: int,
    factor: int = 1,
) -> Call:
    """Bind the kernel: x (n_max, ld), q (n_max, n_in), scale, sums, half (n_max, n_in / 32), step[0] = tokens
    now; factor: of the sums, -128 to 128."""
    n_max, ld = x.shape
    if not 0 < n_in <= ld or n_in % 32:
        raise ValueError(f"n_in = {n_in} must be a multiple of 32, above 0 and at most x's {ld} columns")
    if not -128 <= factor <= 128:
        raise ValueError(f"factor must be within -128 .. 128, not {factor}")
    check_step(step)
    check_array("q", q, (n_max, n_in), np.int8)
    check_array("scale", scale, (n_max, n_in // 32))
    for name, array in (("sum", sums), ("half", half)):
        check_array(name, array, (n_max, n_in // 32), np.int32)
    return quantize.bind(
        x=x, q=q, scale=scale, sum=sums, half=half, step=step, n_in=n_in, ld=ld, factor=factor
    )
