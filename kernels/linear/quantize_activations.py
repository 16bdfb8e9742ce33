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

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I8, I32, I64, Pointer, cast
from ..language.record import PointerTo, Record
from ..language.rows import check_n_tokens, share
from ..language.simd import (
    absolute,
    add_lanes,
    bits_to_f32,
    concatenate,
    f32_to_bits,
    load,
    load_splat,
    max_lanes,
    maximum,
    part,
    repeat,
    round_to_i32,
    splat,
    store,
    to_i8,
    where_less,
)
from ..language.source import inlined
from ..weights.layout import BLOCK
from .packed_tokens import LEAST_TOKENS, pack_blocks, packed_arguments

HALF_BLOCK = BLOCK // 2  # a vector
BLOCKS_AT_ONCE = 32
"""Blocks whose scales are found before their values are rounded: 4 KB, which stay in the first-level
cache."""
SMALLEST = np.float32(3.8e-37)
"""Blocks up to here become zero: 127 / largest would be infinite below 3.73e-37."""
SMALLEST_BITS, INFINITE_BITS = (int(np.float32(x).view(np.int32)) for x in (SMALLEST, np.inf))


def quantize_reference(x: Array, factor: int = 1) -> tuple[NDArray, NDArray, NDArray, NDArray]:
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
    n_tokens=PointerTo(I64),
    n_in=I64,
    ld=I64,
    factor=I64,
    tokens=PointerTo(I8),
    has_tokens=I64,
)


def _passes(n: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Make the two passes over n blocks in a row, each of two vectors."""
    n_halves = 2 * n

    @inlined
    def find_scales(x: Pointer, scale: Pointer, inverse: Pointer) -> None:
        """scale = max |x| / 127, inverse = 127 / max |x|. As integers, the bits of |x| are in the order of
        the numbers, with infinity and then NaN above them all."""
        bits = f32_to_bits(absolute(load(x, HALF_BLOCK, n_halves, HALF_BLOCK)))
        bits = max_lanes(maximum(part(bits, 0, n, 2), part(bits, 1, n, 2)))
        largest = bits_to_f32(bits)
        zero, nan = splat(0.0, F32, n), splat(np.nan, F32, n)
        store(scale, where_less(bits, INFINITE_BITS, largest * np.float32(1 / 127), nan))
        store(inverse, where_less(SMALLEST_BITS, bits, np.float32(127.0) / largest, zero))

    @inlined
    def round_values(
        x: Pointer, inverse: Pointer, q: Pointer, sums: Pointer, half: Pointer, factor: int
    ) -> None:
        """q = round(x * inverse), and its sums. Those of both halves of a block are computed in one int32,
        for they fit into 16 bits each."""
        factors = repeat(load_splat(inverse, HALF_BLOCK, n, 1), 2)
        levels = round_to_i32(load(x, HALF_BLOCK, n_halves, HALF_BLOCK) * factors)
        store(q, to_i8(concatenate(levels)))
        both = add_lanes(part(levels, 0, n, 2) + (part(levels, 1, n, 2) << 16))
        first = both << 16 >> 16
        second = (both - first) >> 16
        store(sums, (first + second) * factor)
        store(half, first * factor)

    return find_scales, round_values


find_scale, round_one = _passes(1)
find_four_scales, round_four = _passes(4)


@kernel(QUANTIZE)
def quantize(args, thread_id, n_threads):
    """Threads share the blocks of all tokens: block b of token t is number t * n_blocks + b.

    There are two passes, since the largest value of a block is known long after it was asked for, and a core
    executes only a few blocks ahead.
    """
    n_blocks = args.n_in // BLOCK
    packs = args.has_tokens != 0 and args.n_tokens[0] >= LEAST_TOKENS
    first, last = share(args.n_tokens[0] * n_blocks, thread_id, n_threads)
    while first < last:
        t, b = first // n_blocks, first % n_blocks
        n = min(last - first, BLOCKS_AT_ONCE)
        if packs or args.ld > args.n_in:  # else there is no gap between tokens
            n = min(n, n_blocks - b)
        x, q = args.x + (t * args.ld + b * BLOCK), args.q + first * BLOCK
        scale, sums, half = args.scale + first, args.sum + first, args.half + first
        inverse = cast(sums, F32)  # where the sums will be
        fours = n - n % 4
        for i in range(0, fours, 4):
            find_four_scales(x + i * BLOCK, scale + i, inverse + i)
        for i in range(fours, n):
            find_scale(x + i * BLOCK, scale + i, inverse + i)
        for i in range(0, fours, 4):
            round_four(x + i * BLOCK, inverse + i, q + i * BLOCK, sums + i, half + i, args.factor)
        for i in range(fours, n):
            round_one(x + i * BLOCK, inverse + i, q + i * BLOCK, sums + i, half + i, args.factor)
        if packs:
            pack_blocks((q, scale, sums, half), args.tokens, t, b, n, n_blocks)
        first += n


def bind_quantize(
    x: Array,
    q: NDArray[np.int8],
    scale: Array,
    sums: NDArray[np.int32],
    half: NDArray[np.int32],
    n_tokens: Count,
    n_in: int,
    factor: int = 1,
    tokens: NDArray[np.int8] | None = None,
) -> Call:
    """Bind the kernel: x (n_max, ld), q (n_max, n_in), scale, sums, half (n_max, n_in / 32); factor: of the
    sums, -128 to 128; tokens: where they are also packed side by side, for machines with a unit for small
    matrices (`packed_tokens`), or None."""
    n_max, ld = x.shape
    if not 0 < n_in <= ld or n_in % 32:
        raise ValueError(f"n_in = {n_in} must be a multiple of 32, above 0 and at most x's {ld} columns")
    if not -128 <= factor <= 128:
        raise ValueError(f"factor must be within -128 .. 128, not {factor}")
    check_n_tokens(n_tokens)
    check_array("q", q, (n_max, n_in), np.int8)
    check_array("scale", scale, (n_max, n_in // 32))
    for name, array in (("sum", sums), ("half", half)):
        check_array(name, array, (n_max, n_in // 32), np.int32)
    return quantize.bind(
        x=x, q=q, scale=scale, sum=sums, half=half, n_tokens=n_tokens, n_in=n_in, ld=ld, factor=factor,
        **packed_arguments(tokens, n_max, n_in),
    )  # fmt: skip
