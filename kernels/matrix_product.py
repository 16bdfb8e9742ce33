"""The product of an unpacked piece of a tile with 16 tokens at a time, on machines with a unit for small
matrices.

Intel's AMX multiplies 16 tokens x 32 columns with 32 columns x 16 rows of int8 in one instruction. The whole
numbers are those of `token_product.py`, and the floats are made of them in the same order: both give the same
bits.

The activations of 16 tokens are first put side by side, once for all tiles that they meet, with 0 for tokens
that are not there: `TOKENS_BYTES` for each block of 32 columns,

    x        (16, 32) int8
    scales   (16,) float32
    sums     (2, 16) float32: for layouts with minima, of each sub-block, times the scale
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .layout import BLOCK, TILE_ROWS, Layout
from .piece import MINIMA_AT, SCALES_AT
from .pointer import F32, I8, cast
from .rows import CACHE_LINE
from .simd import (
    fma,
    load,
    load_splat,
    matrix_product,
    matrix_store,
    prefetch,
    repeat,
    splat,
    store,
    to_f32,
)
from .source import inlined

TOKENS = 16
PRODUCTS = TOKENS * TILE_ROWS
TOKENS_BYTES = TOKENS * BLOCK + 3 * 4 * TOKENS


def pack_tokens(layout: Layout) -> Callable[..., Any]:
    """Make the function that puts n tokens, up to 16, side by side."""
    by_16, has_min = layout.sub_block == 16, layout.has_min

    @inlined
    def pack(xs, packed, n, n_in):  # type: ignore[no-untyped-def]
        x, x_scale, x_sum, x_half = xs
        n_blocks = n_in // BLOCK
        if n < TOKENS:
            for i in range(0, n_blocks * TOKENS_BYTES, CACHE_LINE):
                store(packed + i, splat(0, I8, CACHE_LINE))
        for t in range(n):
            for b in range(n_blocks):
                i, block = t * n_blocks + b, packed + b * TOKENS_BYTES
                store(block + t * BLOCK, load(x + i * BLOCK, BLOCK))
                floats, scale = cast(block + TOKENS * BLOCK, F32) + t, x_scale[i]
                floats[0] = scale
                if has_min and by_16:
                    floats[TOKENS] = np.float32(x_half[i]) * scale
                    floats[2 * TOKENS] = np.float32(x_sum[i] - x_half[i]) * scale
                elif has_min:
                    floats[TOKENS] = np.float32(x_sum[i]) * scale

    return pack


def piece_product(layout: Layout) -> Callable[..., Any]:
    """Make the function that adds to the 16 results of each of 16 tokens what a piece gives.

    It takes the piece; these tokens and the next, packed, from the piece's first block on; working memory of
    2 * `PRODUCTS` int32; where the first result is; n_blocks, ld_out; whether it is a tile's first piece:
    results then start at 0; whether the call before has begun with these tokens; and what to fetch into the
    cache meanwhile: from where on, and how many bytes each step.

    It goes by steps of a sub-block: while the floats of one are added up, the integers of the next are on
    their way to memory and those of the one after it are multiplied. Where the number of steps is even, it
    ends with two steps of the next tokens begun.
    """
    width, by_16, has_min = layout.sub_block, layout.sub_block == 16, layout.has_min

    @inlined
    def multiply(tokens, piece, step, number):  # type: ignore[no-untyped-def]
        x = tokens + ((step // 2 if by_16 else step) * TOKENS_BYTES + (number * width if by_16 else 0))
        matrix_product(x, BLOCK, piece + step * TILE_ROWS * width, width, number)

    @inlined
    def add(out_sum, products, piece, tokens, step, half):  # type: ignore[no-untyped-def]
        f = cast(tokens + ((step // 2 if by_16 else step) * TOKENS_BYTES + TOKENS * BLOCK), F32)
        scale_x = load_splat(f, TILE_ROWS, TOKENS, 1)
        scale = load(cast(piece + SCALES_AT, F32) + step * TILE_ROWS, TILE_ROWS)
        integers = load(products, TILE_ROWS, TOKENS, TILE_ROWS)
        out_sum = fma(to_f32(integers), repeat(scale, TOKENS) * scale_x, out_sum)
        if has_min:
            minimum = load(cast(piece + MINIMA_AT, F32) + step * TILE_ROWS, TILE_ROWS)
            sums = load_splat(f + (TOKENS + half * TOKENS if by_16 else TOKENS), TILE_ROWS, TOKENS, 1)
            out_sum = fma(repeat(minimum, TOKENS), sums, out_sum)
        return out_sum

    @inlined
    def product(piece, tokens, products, out, n_blocks, ld_out, is_first, is_begun, ahead):  # type: ignore[no-untyped-def]
        (tokens, next_tokens), (ahead, n_ahead) = tokens, ahead
        last, others = n_blocks * (BLOCK // width) - 1, products + PRODUCTS
        out_sum = splat(0.0, F32, TILE_ROWS, TOKENS)
        if not is_first:
            out_sum = load(out, TILE_ROWS, TOKENS, ld_out)
        for t in range(TOKENS):  # else the stores at the end hold up what comes next
            prefetch(out + t * ld_out)
        if not is_begun:
            multiply(tokens, piece, 0, 0)
            matrix_store(products, 0)
            multiply(tokens, piece, min(1, last), 1)
        for step in range(0, last, 2):
            for line in range(0, 2 * n_ahead, CACHE_LINE):
                prefetch(ahead + (step * n_ahead + line))
            soon, sooTOKENS = step + 2, tokens
            if soon > last:
                soon, sooTOKENS = 0, next_tokens
            matrix_store(others, 1)
            multiply(sooTOKENS, piece, soon, 0)
            out_sum = add(out_sum, products, piece, tokens, step, 0)
            matrix_store(products, 0)
            multiply(sooTOKENS, piece, min(soon + 1, last), 1)
            out_sum = add(out_sum, others, piece, tokens, step + 1, 1)
        if last % 2 == 0:
            out_sum = add(out_sum, products, piece, tokens, last, 0)
        store(out, out_sum, ld_out)

    return product
