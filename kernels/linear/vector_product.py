"""The product of an unpacked piece of a tile with some tokens, in vectors: integer sums of each sub-block,
which are scaled and added as floats.

Each lane of a vector has one row, so that a sum is never split: a result has the same bits whatever is beside
it, and as with packed weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..language.pointer import F32, I8, I16, I32, cast
from ..language.rows import CACHE_LINE
from ..language.simd import (
    dot_pairs,
    dot_signed,
    dot_start,
    dot_start_signed,
    dot_sum,
    dot_unsigned,
    dot_words,
    evens,
    fma,
    join,
    load,
    load_splat,
    odds,
    pair_sums,
    part,
    prefetch,
    repeat,
    splat,
    store,
    tile,
    to_f32,
    to_i16,
)
from ..language.source import inlined
from ..target.target import host_target
from ..weights.layout import BLOCK, TILE_ROWS, Layout
from .block_scales import RegisterTile
from .half_block import four_steps
from .piece import MINIMA_AT, PIECE_BYTES, SCALES_AT, is_in_words, level_bytes

Function = Callable[..., Any]


def _half_block(layout: Layout, shape: RegisterTile) -> Function:
    """Make the function that adds 16 unpacked columns to a dot state; they have no separate upper bits."""
    n_tokens, n_groups, n_bytes, is_signed = shape.n_tokens, shape.n_groups, 4 * shape.lanes, layout.is_signed

    @inlined
    def levels_of_step(levels, stride, upper, j):
        if is_signed:
            return load(cast(levels + 64 * j, I8), n_bytes, n_groups, stride)
        else:
            return load(levels + 64 * j, n_bytes, n_groups, stride)

    @inlined
    def add_step(state, levels, x, x_stride):
        if is_signed:
            return dot_signed(state, levels, x, x_stride, n_tokens)
        else:
            return dot_unsigned(state, levels, x, x_stride, n_tokens)

    add_half = four_steps(layout, levels_of_step, add_step)

    @inlined
    def add_unpacked(state, levels, stride, x, x_stride):
        return add_half(state, levels, stride, 0, x, x_stride)

    return add_unpacked


def _half_block_of_words(shape: RegisterTile) -> Function:
    """Make the function that adds 16 unpacked columns of int16 to a dot state."""
    n_tokens, n_groups, n_words = shape.n_tokens, shape.n_groups, 2 * shape.lanes

    @inlined
    def add_step(state, words, stride, x, x_stride):
        state = dot_words(state, load(words, n_words, n_groups, stride), x, x_stride, n_tokens)
        odd = load(words + 32, n_words, n_groups, stride)
        return dot_words(state, odd, x + BLOCK // 2, x_stride, n_tokens)

    @inlined
    def add_words(state, levels, stride, x, x_stride):
        words, stride = cast(levels, I16), stride // 2
        state = add_step(state, words, stride, x, x_stride)  # written out, as in `four_steps`
        state = add_step(state, words + 64, stride, x + 2, x_stride)
        state = add_step(state, words + 128, stride, x + 4, x_stride)
        return add_step(state, words + 192, stride, x + 6, x_stride)

    return add_words


def _half_block_of_pairs(shape: RegisterTile) -> Function:
    """Make the function that adds 16 columns to the sums of pairs of tokens."""
    n_pairs, n_groups, n_bytes = (shape.n_tokens + 1) // 2, shape.n_groups, 8 * shape.lanes

    @inlined
    def add_pairs(state, levels, stride, x, x_stride):
        first = load(cast(levels, I8), n_bytes, n_groups, n_bytes)
        state = dot_pairs(state, first, load(x, 16, n_pairs, 2 * x_stride))
        second = load(cast(levels + 128, I8), n_bytes, n_groups, n_bytes)
        return dot_pairs(state, second, load(x + 16, 16, n_pairs, 2 * x_stride))

    return add_pairs


@inlined
def _unchanged(sums):
    """Sums of pairs start as they are."""
    return sums


def _sums_of_tokens(n_tokens: int) -> Function:
    """Make the function that takes sums of pairs apart."""

    @inlined
    def integers(sums):
        return pair_sums(sums, n_tokens)

    return integers


def _some_tokens(layout: Layout, shape: RegisterTile) -> Function:
    """Make the function that adds the products of a piece, or two, to the results of some tokens."""
    in_words, in_pairs = is_in_words(layout), host_target().multiplies_pairs
    if in_pairs:
        add_half, second_half, x_block = _half_block_of_pairs(shape), BLOCK, 2 * BLOCK
    elif in_words:
        add_half, second_half, x_block = _half_block_of_words(shape), BLOCK // 4, BLOCK
    else:
        add_half, second_half, x_block = _half_block(layout, shape), BLOCK // 2, BLOCK
    per_block = level_bytes(layout)
    n_tokens, n_groups, lanes = shape.n_tokens, shape.n_groups, shape.lanes
    is_pair, has_two_groups, n_pairs = shape.n_tiles == 2, n_groups == 2, n_groups * n_tokens
    stride, float_stride = (PIECE_BYTES, PIECE_BYTES // 4) if is_pair else (4 * lanes, lanes)
    has_offset, is_signed = layout.offset != 0 and not in_pairs, layout.is_signed and not in_pairs
    start, integers, n_states, state_lanes = dot_start, dot_sum, n_pairs, lanes
    if in_pairs:
        start, integers = _unchanged, _sums_of_tokens(n_tokens)
        n_states, state_lanes = n_groups * ((n_tokens + 1) // 2), 2 * lanes
    has_min, by_16, n_scales = layout.has_min, layout.sub_block == 16, TILE_ROWS * (BLOCK // layout.sub_block)

    @inlined
    def for_tokens(floats):
        return repeat(load(floats, lanes, n_groups, float_stride), n_tokens)

    @inlined
    def add_scaled(out_sum, state, scale, scale_x):
        return fma(to_f32(integers(state)), for_tokens(scale) * scale_x, out_sum)

    @inlined
    def add_minimum(out_sum, minimum, scaled_sum):
        return fma(for_tokens(minimum), scaled_sum, out_sum)

    @inlined
    def add_piece(piece, xs, out, second_out, n_blocks, n_in, ld_out, is_first, ahead):
        levels, scale, minimum = piece, cast(piece + SCALES_AT, F32), cast(piece + MINIMA_AT, F32)
        x, x_scale, x_first, x_second = xs
        next_w, w_step, bytes_per_block = ahead
        ld_blocks = n_in // BLOCK
        out_sum, nothing = splat(0.0, F32, lanes, n_pairs), splat(0, I32, state_lanes, n_states)
        if not is_first:
            out_sum = load(out, lanes, n_tokens, ld_out)
            if has_two_groups:
                out_sum = join(out_sum, load(out + second_out, lanes, n_tokens, ld_out))
        for b in range(n_blocks):
            for line in range(b * bytes_per_block, (b + 1) * bytes_per_block, CACHE_LINE):
                prefetch(next_w + line)
                if is_pair:
                    prefetch(next_w + (w_step + line))
            scale_x = tile(load_splat(x_scale + b, lanes, n_tokens, ld_blocks), n_groups)
            first_sum = tile(load_splat(x_first + b, lanes, n_tokens, ld_blocks), n_groups)
            if by_16:
                state = start(first_sum if has_offset else nothing)
                state = add_half(state, levels, stride, x, n_in)
                out_sum = add_scaled(out_sum, state, scale, scale_x)
                if has_min:
                    out_sum = add_minimum(out_sum, minimum, first_sum)
                second_sum = tile(load_splat(x_second + b, lanes, n_tokens, ld_blocks), n_groups)
                state = start(second_sum if has_offset else nothing)
                state = add_half(state, levels + per_block // 2, stride, x + second_half, n_in)
                out_sum = add_scaled(out_sum, state, scale + TILE_ROWS, scale_x)
                if has_min:
                    out_sum = add_minimum(out_sum, minimum + TILE_ROWS, second_sum)
            else:
                if is_signed:
                    state = dot_start_signed(first_sum)
                else:
                    state = start(first_sum if has_offset else nothing)
                state = add_half(state, levels, stride, x, n_in)
                state = add_half(state, levels + per_block // 2, stride, x + second_half, n_in)
                out_sum = add_scaled(out_sum, state, scale, scale_x)
                if has_min:
                    out_sum = add_minimum(out_sum, minimum, first_sum)
            levels, scale, minimum = levels + per_block, scale + n_scales, minimum + n_scales
            x = x + x_block
        store(out, part(out_sum, 0, n_tokens), ld_out)
        if has_two_groups:
            store(out + second_out, part(out_sum, n_tokens, n_tokens), ld_out)

    return add_piece


def sums_of_sub_blocks(layout: Layout) -> Function:
    """Make the function that writes the sums of n blocks of activations: (2, n) int32, of the first and
    second sub-block; for layouts with minima float32, times the scale. A block of 32 has no second
    sub-block."""
    by_16, has_min = layout.sub_block == 16, layout.has_min

    @inlined
    def wanted(total, scale):
        if has_min:
            return np.float32(total) * scale
        else:
            return total

    @inlined
    def write(x_scale, x_sum, x_half, sums, n):
        for i in range(n):
            if by_16:
                sums[i] = wanted(x_half[i], x_scale[i])
                sums[n + i] = wanted(x_sum[i] - x_half[i], x_scale[i])
            else:
                sums[i] = wanted(x_sum[i], x_scale[i])

    return write


@inlined
def put_words(x, words, n):
    """Write n blocks of activations as int16, for levels in words: of each block, those of even columns, then
    the others."""
    for i in range(0, n * BLOCK, BLOCK):
        block = load(x + i, BLOCK)
        store(words + i, to_i16(evens(block)))
        store(words + (i + BLOCK // 2), to_i16(odds(block)))


@inlined
def put_pairs(x, pairs, n, n_in):
    """Write the activations of n tokens as pairs, which have 8 columns of one beside those of the other. The
    last of an odd number is paired with itself."""
    for t in range(0, n, 2):
        first, second = x + t * n_in, x + min(t + 1, n - 1) * n_in
        for i in range(0, n_in, 8):
            store(pairs + (t * n_in + 2 * i), load(first + i, 8))
            store(pairs + (t * n_in + 2 * i + 8), load(second + i, 8))


def tokens_together(n_tiles: int) -> int:
    """How many tokens are multiplied at a time: 12 (or 8) vectors of sums leave registers for the rest."""
    n_sums = 12 if host_target().n_vector_registers >= 32 else 8
    return n_sums // RegisterTile(1, n_tiles).n_groups


def vector_product(layout: Layout, n_tiles: int) -> Function:
    """Make the function that adds the products of a piece to the results of n tokens; with n_tiles = 2 of two
    pieces, one after the other.

    `product(piece, xs, out, second_out, n, n_blocks, n_in, ld_out, is_first, ahead)`:

        xs           from the piece's first block on: the activations of the first token (in words or in
                     pairs, as `put_words` and `put_pairs` order them), their scales, and the two arrays of
                     `sums_of_sub_blocks`
        out          the first result; the second vector of results is second_out after it
        is_first     whether this is a tile's first piece: results then start at 0
        ahead        what to prefetch meanwhile: (the next piece's weights, how far the second tile is from
                     them, bytes for each block)
    """
    n_together = tokens_together(n_tiles)
    some_tokens, two_tokens, one_token = (
        _some_tokens(layout, RegisterTile(n, n_tiles)) for n in (n_together, 2, 1)
    )

    @inlined
    def product(piece, xs, out, second_out, n, n_blocks, n_in, ld_out, is_first, ahead):
        x, x_scale, x_first, x_second = xs
        next_w, w_step, bytes_per_block = ahead
        t = 0
        while t < n:
            b, o = t * (n_in // BLOCK), out + t * ld_out
            some, fetched = (
                (x + t * n_in, x_scale + b, x_first + b, x_second + b),
                (next_w, w_step, bytes_per_block),
            )
            if t + n_together <= n:
                some_tokens(piece, some, o, second_out, n_blocks, n_in, ld_out, is_first, fetched)
                t += n_together
            elif t + 2 <= n:
                two_tokens(piece, some, o, second_out, n_blocks, n_in, ld_out, is_first, fetched)
                t += 2
            else:
                one_token(piece, some, o, second_out, n_blocks, n_in, ld_out, is_first, fetched)
                t += 1
            bytes_per_block = 0

    return product
