"""The product of an unpacked piece of a tile with 16 tokens at a time, or 8, on machines with a unit for
small matrices.

Intel's AMX multiplies 16 tokens x 32 columns with 32 columns x 16 rows of int8 in one instruction. The whole
numbers are those of `token_product.py`, and the floats are made of them in the same order: both give the same
bits.

The scales of activations are first put side by side for 16 tokens, once for all tiles that they meet, with 0
for tokens that are not there:

    factors  (n_in / 32, FACTORS, 16) float32: scales; for layouts with minima, these times the sums of the
             activations of each sub-block
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .layout import BLOCK, TILE_ROWS, Layout
from .piece import MINIMA_AT, SCALES_AT
from .pointer import F32, cast
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

TOKENS, FEWER_TOKENS = 16, 8
FACTORS = 3
PRODUCTS = TOKENS * TILE_ROWS


def gather_factors(layout: Layout) -> Callable[..., Any]:
    """Make the function that fills the factors of n tokens, up to 16."""
    by_16, has_min = layout.sub_block == 16, layout.has_min

    @inlined
    def gather(x_scale, x_sum, x_half, factors, n, n_blocks):  # type: ignore[no-untyped-def]
        if n < TOKENS:
            for i in range(n_blocks * FACTORS):
                store(factors + i * TOKENS, splat(0.0, F32, TOKENS))
        for t in range(n):
            for b in range(n_blocks):
                i, out = t * n_blocks + b, factors + (b * FACTORS * TOKENS + t)
                scale = x_scale[i]
                out[0] = scale
                if has_min and by_16:
                    out[TOKENS] = np.float32(x_half[i]) * scale
                    out[2 * TOKENS] = np.float32(x_sum[i] - x_half[i]) * scale
                elif has_min:
                    out[TOKENS] = np.float32(x_sum[i]) * scale

    return gather


def piece_product(layout: Layout, n_tokens: int) -> Callable[..., Any]:
    """Make the function that adds to the 16 results of each of 8 or 16 tokens what a piece gives.

    It takes the piece, the activations and factors at its first block, working memory of 2 * `PRODUCTS`
    int32, where the first result is, n_blocks, n_in, ld_out, and whether it is a tile's first piece: results
    then start at 0; and what to fetch into the cache meanwhile: from where on, and how many bytes each step.

    It goes by steps of a sub-block: while the floats of one are added up, the integers of the next are on
    their way to memory and those of the one after it are multiplied.
    """
    width, by_16, has_min = layout.sub_block, layout.sub_block == 16, layout.has_min

    @inlined
    def multiply(x, piece, step, n_in, number):  # type: ignore[no-untyped-def]
        matrix_product(x + step * width, n_in, piece + step * TILE_ROWS * width, width, number)

    @inlined
    def add(out_sum, products, piece, factors, step, half):  # type: ignore[no-untyped-def]
        f = factors + (step // 2 if by_16 else step) * FACTORS * TOKENS
        scale_x = load_splat(f, TILE_ROWS, n_tokens, 1)
        scale = load(cast(piece + SCALES_AT, F32) + step * TILE_ROWS, TILE_ROWS)
        integers = load(products, TILE_ROWS, n_tokens, TILE_ROWS)
        out_sum = fma(to_f32(integers), repeat(scale, n_tokens) * scale_x, out_sum)
        if has_min:
            minimum = load(cast(piece + MINIMA_AT, F32) + step * TILE_ROWS, TILE_ROWS)
            sums = load_splat(f + (TOKENS + half * TOKENS if by_16 else TOKENS), TILE_ROWS, n_tokens, 1)
            out_sum = fma(repeat(minimum, n_tokens), sums, out_sum)
        return out_sum

    @inlined
    def product(piece, x, factors, products, out, n_blocks, n_in, ld_out, is_first, ahead, n_ahead):  # type: ignore[no-untyped-def]
        last, others = n_blocks * (BLOCK // width) - 1, products + PRODUCTS
        out_sum = splat(0.0, F32, TILE_ROWS, n_tokens)
        if not is_first:
            out_sum = load(out, TILE_ROWS, n_tokens, ld_out)
        multiply(x, piece, 0, n_in, 0)
        matrix_store(products, 0)
        multiply(x, piece, min(1, last), n_in, 1)
        for step in range(0, last, 2):
            for line in range(0, 2 * n_ahead, CACHE_LINE):
                prefetch(ahead + (step * n_ahead + line))
            matrix_store(others, 1)
            multiply(x, piece, min(step + 2, last), n_in, 0)
            out_sum = add(out_sum, products, piece, factors, step, 0)
            matrix_store(products, 0)
            multiply(x, piece, min(step + 3, last), n_in, 1)
            out_sum = add(out_sum, others, piece, factors, step + 1, 1)
        if last % 2 == 0:
            out_sum = add(out_sum, products, piece, factors, last, 0)
        store(out, out_sum, ld_out)

    return product
