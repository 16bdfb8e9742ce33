"""The product of packed weights with one token, or a few, in vectors: integer sums of each sub-block, which
are scaled and added as floats.

Each lane of a vector has one row, so that a sum is never split, and a row's result has the same bits whatever
is beside it. Weights are read once, from first to last, at the bandwidth of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..language.pointer import F32, I8, I32, cast
from ..language.simd import (
    dot_signed,
    dot_start,
    dot_start_signed,
    dot_sum,
    fma,
    load,
    load_splat,
    part,
    prefetch,
    repeat,
    splat,
    store,
    tile,
    to_f32,
)
from ..language.source import inlined
from ..weights.layout import BLOCK, Layout
from .block_scales import RegisterTile, block_minimum, block_scale, span_scales
from .half_block import half_block, upper_bits_at

PREFETCH_BYTES = 4096


def _byte_block(shape: RegisterTile) -> Callable[..., Any]:
    """Make the function that adds a block of int8 levels to a dot state."""
    n_tokens, n_groups, n_bytes = shape.n_tokens, shape.n_groups, 4 * shape.lanes

    @inlined
    def add_block(state, w, w_stride, x, stride):
        for j in range(8):
            levels = load(cast(w + 64 * j, I8), n_bytes, n_groups, w_stride)
            state = dot_signed(state, levels, x + 4 * j, stride, n_tokens)
        return state

    return add_block


def token_product(layout: Layout, shape: RegisterTile, *, has_products: bool = False) -> Callable[..., Any]:
    """Make the function that multiplies 16 rows r of a tile, or 32 of two, with a token t, or some at once.

        out[t, r] = Σ_b x_scale[t, b] * (scale[r, b] * Σ_k level[r, k] x[t, k] + minimum[r, b] * Σ_k x[t, k])

    b are the sub-blocks, k their columns; minima of super-blocks are negated first. An offset is subtracted
    by what the integer sum starts with: x_sum is then -offset * Σ_k x[t, k].

    `product(w, w_step, xs, out, second_out, n_in, ld_out)`:

        w, w_step     the tile, uint8; the second one begins w_step bytes after it
        xs            (x, x_scale, x_sum, x_half): x (n_tokens, n_in) int8, x_scale (n_tokens, n_in / 32)
                      float32, x_sum and x_half (of the first 16 columns of each block) the same in int32.
                      With `has_products`, for layouts with minima of 32 columns, x_sum is float32: the sums
                      times the scale
        out, ld_out   float32: the results of the first vector of rows; the next token's are ld_out after it
        second_out    those of the second vector of rows, if there is one, are this far after `out`

    What depends on layout and shape is decided here: to the function below it is a compile-time constant.
    """
    add_low, add_high = (half_block(layout, half, shape) for half in (0, 1))
    add_bytes, read_header = _byte_block(shape), span_scales(layout, shape)
    scale_of, minimum_of = block_scale(layout, shape), block_minimum(layout, shape)
    low_at, high_at = upper_bits_at(layout)
    # A bundle has a vector for each pair of a group (a vector of rows) and a token, groups outermost.
    n_tokens, n_groups, lanes, n_bytes = shape.n_tokens, shape.n_groups, shape.lanes, 4 * shape.lanes
    is_pair, n_pairs = shape.n_tiles == 2, n_tokens * n_groups
    is_bytes, has_offset, is_signed = layout.bits == 8, layout.offset != 0, layout.is_signed
    has_min, by_16, has_two_groups = layout.has_min, layout.sub_block == 16, n_groups == 2
    blocks_per_span, header_bytes = layout.blocks_per_span, layout.header_bytes
    block_bytes, quant_bytes = layout.block_bytes, layout.quant_bytes

    @inlined
    def product(w, w_step, xs, out, second_out, n_in, ld_out):
        x, x_scale, x_sum, x_half = xs
        sums_x = cast(x_sum, F32 if has_products else I32)
        # From one group to the next: of levels (4 bytes a row), float16 scales, scales of a byte.
        level_stride, half_stride, byte_stride = n_bytes, lanes, lanes
        if is_pair:
            level_stride, half_stride, byte_stride = w_step, w_step // 2, w_step
        n_blocks = n_in // BLOCK
        out_sum, nothing = splat(0.0, F32, lanes, n_pairs), splat(0, I32, lanes, n_pairs)
        for first in range(0, n_blocks, blocks_per_span):
            super_scale, super_min = read_header(w, half_stride)
            w = w + header_bytes
            for b in range(first, first + blocks_per_span):
                for line in range(0, block_bytes, 64):
                    prefetch(w + (PREFETCH_BYTES + line))
                    if is_pair:
                        prefetch(w + (byte_stride + PREFETCH_BYTES + line))
                x_block = x + b * BLOCK
                scale_x = tile(load_splat(x_scale + b, lanes, n_tokens, n_blocks), n_groups)
                sum_x = tile(load_splat(sums_x + b, lanes, n_tokens, n_blocks), n_groups)
                s = w + quant_bytes
                scale = repeat(scale_of(s, 0, super_scale, half_stride, byte_stride), n_tokens)
                if by_16:
                    half_x = tile(load_splat(x_half + b, lanes, n_tokens, n_blocks), n_groups)
                    low_bits = load(w + low_at, n_bytes, n_groups, level_stride)
                    high_bits = load(w + high_at, n_bytes, n_groups, level_stride)
                    state = dot_start(half_x if has_offset else nothing)
                    state = add_low(state, w, level_stride, low_bits, x_block, n_in)
                    out_sum = fma(to_f32(dot_sum(state)), scale * scale_x, out_sum)
                    if has_min:
                        minimum = repeat(minimum_of(s, 0, super_min, half_stride, byte_stride), n_tokens)
                        out_sum = fma(minimum, to_f32(half_x) * scale_x, out_sum)
                    half_x = sum_x - half_x
                    state = dot_start(half_x if has_offset else nothing)
                    state = add_high(state, w, level_stride, high_bits, x_block + 16, n_in)
                    scale = repeat(scale_of(s, 1, super_scale, half_stride, byte_stride), n_tokens)
                    out_sum = fma(to_f32(dot_sum(state)), scale * scale_x, out_sum)
                    if has_min:
                        minimum = repeat(minimum_of(s, 1, super_min, half_stride, byte_stride), n_tokens)
                        out_sum = fma(minimum, to_f32(half_x) * scale_x, out_sum)
                else:
                    if is_signed:
                        state = dot_start_signed(sum_x)
                    else:
                        state = dot_start(sum_x if has_offset else nothing)
                    if is_bytes:
                        state = add_bytes(state, w, level_stride, x_block, n_in)
                    else:
                        upper = load(w + low_at, n_bytes, n_groups, level_stride)
                        state = add_low(state, w, level_stride, upper, x_block, n_in)
                        state = add_high(state, w, level_stride, upper, x_block + 16, n_in)
                    out_sum = fma(to_f32(dot_sum(state)), scale * scale_x, out_sum)
                    if has_min:
                        minimum = repeat(minimum_of(s, 0, super_min, half_stride, byte_stride), n_tokens)
                        weighted_x = sum_x
                        if not has_products:
                            weighted_x = to_f32(sum_x) * scale_x
                        out_sum = fma(minimum, weighted_x, out_sum)
                w = w + block_bytes
        store(out, part(out_sum, 0, n_tokens), ld_out)
        if has_two_groups:
            store(out + second_out, part(out_sum, n_tokens, n_tokens), ld_out)

    return product
