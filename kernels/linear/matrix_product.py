"""The product of an unpacked piece of a tile with 16 tokens at a time, on machines with a unit for small
matrices.

Intel's AMX multiplies 16 tokens x 32 columns with 32 columns x 16 rows of int8 in one instruction. The
integers are those of products in vectors, and the float operations on them have the same order: the bits are
the same.

The activations of 16 tokens lie side by side (`packed_tokens`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..language.exponential import ROUNDER
from ..language.pointer import F32, cast
from ..language.rows import CACHE_LINE
from ..language.simd import (
    bits_to_f32,
    fma,
    join,
    load,
    load_splat,
    matrix_product,
    matrix_store,
    part,
    prefetch,
    splat,
    store,
)
from ..language.source import inlined
from ..weights.layout import BLOCK, TILE_ROWS, Layout
from .packed_tokens import TOKENS, TOKENS_BYTES
from .piece import MINIMA_AT, SCALES_AT

PRODUCTS = TOKENS * TILE_ROWS
ROUNDER_BITS = int(np.float32(ROUNDER).view(np.int32))  # whose last bits count ones, up to 2^22


def _one_by_one(add_token: Callable[..., Any], n: int) -> Callable[..., Any]:
    """Make the function that calls `add_token`, which adds to the results of a token, for each of n
    tokens."""
    if n == 1:
        return add_token
    half = n // 2
    add_half = _one_by_one(add_token, half)

    @inlined
    def add(out_sum, integers, f, sums, scale, minimum):
        first = add_half(part(out_sum, 0, half), integers, f, sums, scale, minimum)
        integers, f, sums = integers + half * TILE_ROWS, f + half, sums + half
        return join(first, add_half(part(out_sum, half, half), integers, f, sums, scale, minimum))

    return add


def piece_product(layout: Layout) -> Callable[..., Any]:
    """Make the function that adds the products of a piece to the 16 results of each of 16 tokens.

    `product(piece, tokens, products, out, n_blocks, ld_out, is_first, is_begun, ahead)`:

        tokens     (these, the next), packed, from the piece's first block on
        products   working memory of 2 * `PRODUCTS` int32
        out        the first result
        is_first   whether this is a tile's first piece: results then start at 0
        is_begun   whether the call before has begun with these tokens
        ahead      what to prefetch meanwhile: (address, from one step to the next, bytes for two steps)

    A step is a sub-block. While the floats of one are added up, the integers of the next are stored and those
    of the one after it are multiplied. If the number of steps is even, two steps of the next tokens have been
    begun at the end.
    """
    width, by_16, has_min = layout.sub_block, layout.sub_block == 16, layout.has_min
    levels_bytes = TILE_ROWS * width
    # From the first step of two to the second, and to the next two; and where their sums are
    second_x, second_f, two_steps = TOKENS_BYTES, TOKENS_BYTES, 2 * TOKENS_BYTES
    sums, second_sums = 3 * TOKENS, 3 * TOKENS
    if by_16:
        second_x, second_f, two_steps = width, 0, TOKENS_BYTES
        sums, second_sums = TOKENS, 2 * TOKENS

    @inlined
    def multiply(x, levels, number):
        matrix_product(x, BLOCK, levels, width, number)

    @inlined
    def add_token(out_sum, integers, f, sums, scale, minimum):
        # Not `to_f32`: the unit that multiplies floats beside AMX would convert, too; another unit adds.
        floats = bits_to_f32(load(integers, TILE_ROWS) + ROUNDER_BITS) - ROUNDER
        out_sum = fma(floats, scale * load_splat(f, TILE_ROWS), out_sum)
        if has_min:
            out_sum = fma(minimum, load_splat(sums, TILE_ROWS), out_sum)
        return out_sum

    add_tokens = _one_by_one(add_token, TOKENS)

    @inlined
    def add(out_sum, integers, scales, x, sums_at):
        f, scale = cast(x + TOKENS * BLOCK, F32), load(scales, TILE_ROWS)
        minimum = scale
        if has_min:
            minimum = load(scales + (MINIMA_AT - SCALES_AT) // 4, TILE_ROWS)
        return add_tokens(out_sum, integers, f, f + sums_at, scale, minimum)

    @inlined
    def product(piece, tokens, products, out, n_blocks, ld_out, is_first, is_begun, ahead):
        (tokens, next_tokens), (ahead, ahead_step, n_ahead) = tokens, ahead
        last, others = n_blocks * (BLOCK // width) - 1, products + PRODUCTS
        out_sum = splat(0.0, F32, TILE_ROWS, TOKENS)
        if not is_first:
            out_sum = load(out, TILE_ROWS, TOKENS, ld_out)
        for t in range(TOKENS):  # else the stores at the end delay what comes next
            prefetch(out + t * ld_out)
        x, levels, scales = tokens, piece, cast(piece + SCALES_AT, F32)
        if not is_begun:
            multiply(x, levels, 0)
            matrix_store(products, 0)
            if last > 0:
                multiply(x + second_x, levels + levels_bytes, 1)
        for step in range(0, last, 2):
            for line in range(0, n_ahead, CACHE_LINE):
                prefetch(ahead + line)
            ahead = ahead + 2 * ahead_step
            now, now_scales = x, scales
            x, levels, scales = x + two_steps, levels + 2 * levels_bytes, scales + 2 * TILE_ROWS
            if step + 2 > last:
                x, levels = next_tokens, piece
            second, second_levels = x + second_x, levels + levels_bytes
            if step + 2 == last:  # there is no second step, and a branch would cost more than a product
                second, second_levels = x, levels
            matrix_store(others, 1)
            multiply(x, levels, 0)
            out_sum = add(out_sum, products, now_scales, now, sums)
            matrix_store(products, 0)
            multiply(second, second_levels, 1)
            out_sum = add(out_sum, others, now_scales + TILE_ROWS, now + second_f, second_sums)
        if last % 2 == 0:
            out_sum = add(out_sum, products, scales, x, sums)
        store(out, out_sum, ld_out)

    return product
