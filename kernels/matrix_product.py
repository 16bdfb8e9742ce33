"""The product of packed weights with 16 tokens at a time, on machines with a unit for small matrices.

Intel's AMX multiplies 16 tokens x 32 columns with 32 columns x 16 rows of int8 in one instruction. The tile
is first unpacked, once for all tokens of a pass, to int8 levels (offsets taken off, tables looked up) in the
order that the unit wants, with float32 scales. The integers are those of `vector_product.py`, and the floats
are made of them in the same order: both give the same bits.

Working memory of a thread, for n_in columns in blocks of 32, each with 1 or 2 sub-blocks (with room
for 2):

    levels     (n_blocks, 8, 16, 4) int8       scales, minima   (n_blocks, sub-blocks, 16) float32
    products   (2, 16, 16) int32, token by token
    factors    (16, n_blocks, 3, 16) float32: for each 16 tokens of a pass the scales of their activations,
               and, for layouts with minima, these times the sums of the activations of each sub-block
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .block_scales import Shape, block_minimum, block_scale, span_scales
from .half_block import step_levels, upper_bits_at
from .layout import BLOCK, TILE_ROWS, Layout
from .pointer import F32, I8, cast
from .simd import fma, load, load_splat, matrix_product, matrix_store, repeat, splat, store, to_f32
from .source import inlined
from .unpack import lookup

TOKENS = 16
TOKENS_PER_PASS = 256  # their activations stay in the second-level cache while a thread's tiles go by
LEVEL_BYTES = TILE_ROWS * BLOCK
PRODUCTS = TOKENS * TILE_ROWS
FACTORS = 3


def working_bytes(n_in: int) -> int:
    """Bytes of a thread's working memory for layers of up to n_in columns."""
    n_blocks = n_in // BLOCK
    floats = 2 * 2 * TILE_ROWS + TOKENS_PER_PASS * FACTORS
    return n_blocks * (LEVEL_BYTES + 4 * floats) + 2 * 4 * PRODUCTS


def gather_factors(layout: Layout) -> Callable[..., Any]:
    """Make the function that fills the factors of 16 tokens, those of a block side by side: what `load_splat`
    reads is then a constant distance apart."""
    by_16, has_min = layout.sub_block == 16, layout.has_min

    @inlined
    def gather(x_scale, x_sum, x_half, factors, n_blocks):  # type: ignore[no-untyped-def]
        for t in range(TOKENS):
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


def unpack_tile(layout: Layout) -> Callable[..., Any]:
    """Make the function that unpacks a tile into levels, scales and minima."""
    shape = Shape(n_tokens=1)
    low_levels, high_levels = (step_levels(layout, half, shape) for half in (0, 1))
    read_header = span_scales(layout, shape)
    scale_of, minimum_of = block_scale(layout, shape), block_minimum(layout, shape)
    lanes, n_bytes, offset, table = shape.lanes, 4 * shape.lanes, layout.offset, layout.table
    low_at, high_at = upper_bits_at(layout)
    is_bytes, is_signed, has_table = layout.bits == 8, layout.is_signed, table is not None
    by_16, has_min = layout.sub_block == 16, layout.has_min
    blocks_per_span, header_bytes = layout.blocks_per_span, layout.header_bytes
    block_bytes, quant_bytes = layout.block_bytes, layout.quant_bytes
    n_subs = BLOCK // layout.sub_block

    @inlined
    def put(levels, value):  # type: ignore[no-untyped-def]
        if is_signed:
            store(cast(levels, I8), lookup(table, value))
        elif has_table:
            store(levels, lookup(table, value) - offset)
        else:
            store(levels, value - offset)

    @inlined
    def unpack(w, levels, scales, minima, n_blocks):  # type: ignore[no-untyped-def]
        for first in range(0, n_blocks, blocks_per_span):
            super_scale, super_min = read_header(w, lanes)
            w = w + header_bytes
            for _ in range(first, first + blocks_per_span):
                if is_bytes:
                    for j in range(8):
                        store(levels + 64 * j, load(w + 64 * j, n_bytes))
                else:
                    low_bits, high_bits = load(w + low_at, n_bytes), load(w + high_at, n_bytes)
                    for j in range(4):
                        put(levels + 64 * j, low_levels(w, n_bytes, low_bits, j))
                        put(levels + (256 + 64 * j), high_levels(w, n_bytes, high_bits, j))
                s = w + quant_bytes
                store(scales, scale_of(s, 0, super_scale, lanes, lanes))
                if by_16:
                    store(scales + 16, scale_of(s, 1, super_scale, lanes, lanes))
                if has_min:
                    store(minima, minimum_of(s, 0, super_min, lanes, lanes))
                    if by_16:
                        store(minima + 16, minimum_of(s, 1, super_min, lanes, lanes))
                levels = levels + LEVEL_BYTES
                scales, minima = scales + TILE_ROWS * n_subs, minima + TILE_ROWS * n_subs
                w = w + block_bytes

    return unpack


def matrix_tokens(layout: Layout) -> Callable[..., Any]:
    """Make the function that multiplies an unpacked tile with 16 tokens and stores 16 x 16 results.

    It goes by steps of a sub-block: while the floats of one are added up, the integers of the next are on
    their way to memory and those of the one after it are multiplied.
    """
    width, by_16, has_min = layout.sub_block, layout.sub_block == 16, layout.has_min

    @inlined
    def add(out_sum, products, scales, minima, factors, step, half):  # type: ignore[no-untyped-def]
        f = factors + (step // 2 if by_16 else step) * FACTORS * TOKENS
        scale, scale_x = load(scales + step * TILE_ROWS, TILE_ROWS), load_splat(f, TILE_ROWS, TOKENS, 1)
        integers = load(products, TILE_ROWS, TOKENS, TILE_ROWS)
        out_sum = fma(to_f32(integers), repeat(scale, TOKENS) * scale_x, out_sum)
        if has_min:
            minimum = repeat(load(minima + step * TILE_ROWS, TILE_ROWS), TOKENS)
            sums = f + (TOKENS + half * TOKENS if by_16 else TOKENS)
            out_sum = fma(minimum, load_splat(sums, TILE_ROWS, TOKENS, 1), out_sum)
        return out_sum

    @inlined
    def tokens(x, levels, scales, minima, factors, products, out, n_in, ld_out):  # type: ignore[no-untyped-def]
        last, others = n_in // width - 1, products + PRODUCTS
        out_sum = splat(0.0, F32, TILE_ROWS, TOKENS)
        next_step = min(1, last)
        matrix_product(x, n_in, levels, width, 0)
        matrix_store(products, 0)
        matrix_product(x + next_step * width, n_in, levels + next_step * TILE_ROWS * width, width, 1)
        for step in range(0, last, 2):
            matrix_store(others, 1)
            next_step = min(step + 2, last)
            matrix_product(x + next_step * width, n_in, levels + next_step * TILE_ROWS * width, width, 0)
            out_sum = add(out_sum, products, scales, minima, factors, step, 0)
            matrix_store(products, 0)
            next_step = min(step + 3, last)
            matrix_product(x + next_step * width, n_in, levels + next_step * TILE_ROWS * width, width, 1)
            out_sum = add(out_sum, others, scales, minima, factors, step + 1, 1)
        if last % 2 == 0:
            out_sum = add(out_sum, products, scales, minima, factors, last, 0)
        store(out, out_sum, ld_out)

    return tokens
