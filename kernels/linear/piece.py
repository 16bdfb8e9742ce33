"""Pieces of tiles, unpacked for many tokens: a byte for each level, and the scales as float32.

A piece is up to `PIECE_BLOCKS` blocks of a tile, few enough to stay in the first-level cache for all tokens
of a pass. In a thread's memory it is

    levels   (PIECE_BLOCKS, 8, 16, 4) bytes: of step s of a block, row r, columns 4s … 4s+3;
             or (PIECE_BLOCKS / 2, 8, 2, 16, 2) int16: columns 4s and 4s+2, then 4s+1 and 4s+3
             or (PIECE_BLOCKS, 4, 16, 8) int8, where rows are multiplied in pairs
    scales   (PIECE_BLOCKS, sub-blocks, 16) float32, with room for 2 sub-blocks
    minima   the same

Levels keep the layout's offset; for machines that multiply only int8 it is subtracted. Levels of layouts with
int8 levels are int16 (words) if `Target.multiplies_words`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..language.pointer import F32, I8, I16, I32, cast
from ..language.simd import evens, interleave, load, odds, store, to_i16
from ..language.source import inlined
from ..language.unpack import lookup
from ..target.target import host_target
from ..weights.layout import BLOCK, TILE_ROWS, Layout
from .block_scales import RegisterTile, block_minimum, block_scale, span_scales
from .half_block import step_levels, upper_bits_at

PIECE_BLOCKS = 32
LEVEL_BYTES = TILE_ROWS * BLOCK
SCALES_AT = PIECE_BLOCKS * LEVEL_BYTES
MINIMA_AT = SCALES_AT + PIECE_BLOCKS * 2 * 4 * TILE_ROWS
PIECE_BYTES = MINIMA_AT + PIECE_BLOCKS * 2 * 4 * TILE_ROWS


def is_in_words(layout: Layout) -> bool:
    """Whether the levels of a piece are int16."""
    return layout.is_signed and host_target().multiplies_words


def level_bytes(layout: Layout) -> int:
    """Bytes of a block's levels in a piece."""
    return 2 * LEVEL_BYTES if is_in_words(layout) else LEVEL_BYTES


def blocks_per_piece(layout: Layout) -> int:
    """How many blocks fit into a piece."""
    return PIECE_BLOCKS * LEVEL_BYTES // level_bytes(layout)


def unpack_piece(layout: Layout, as_int8: bool) -> Callable[..., Any]:
    """Make the function that unpacks n_blocks blocks from w on, where a super-block begins."""
    shape = RegisterTile(n_tokens=1)
    low_levels, high_levels = (step_levels(layout, half, shape) for half in (0, 1))
    read_header = span_scales(layout, shape)
    scale_of, minimum_of = block_scale(layout, shape), block_minimum(layout, shape)
    lanes, n_bytes, table = shape.lanes, 4 * shape.lanes, layout.table
    n_parts, offset = 64 // n_bytes, layout.offset if as_int8 else 0
    low_at, high_at = upper_bits_at(layout)
    is_bytes, is_signed, has_table = layout.bits == 8, layout.is_signed, table is not None
    by_16, has_min = layout.sub_block == 16, layout.has_min
    blocks_per_span, header_bytes = layout.blocks_per_span, layout.header_bytes
    block_bytes, quant_bytes = layout.block_bytes, layout.quant_bytes
    n_scales = TILE_ROWS * (BLOCK // layout.sub_block)
    in_words, in_pairs = is_in_words(layout), host_target().multiplies_pairs
    bytes_per_block = level_bytes(layout)
    step_bytes = bytes_per_block // 8

    @inlined
    def put_signed(levels, value):
        if in_words:
            words = cast(levels, I16)
            store(words, to_i16(evens(value)), n_bytes // 2)
            store(words + 32, to_i16(odds(value)), n_bytes // 2)
        else:
            store(cast(levels, I8), value, n_bytes)

    @inlined
    def put(levels, value):
        if is_signed:
            put_signed(levels, lookup(table, value))
        elif has_table:
            store(levels, lookup(table, value) - offset, n_bytes)
        else:
            store(levels, value - offset, n_bytes)

    @inlined
    def widen_steps(levels):
        """Make steps of 8 columns of two of 4."""
        steps = cast(levels, I32)
        for j in range(0, 8 * TILE_ROWS, 2 * TILE_ROWS):
            first = load(steps + j, lanes, n_parts, lanes)
            second = load(steps + (j + TILE_ROWS), lanes, n_parts, lanes)
            store(steps + j, interleave(first, second), 2 * lanes)

    @inlined
    def unpack(w, piece, n_blocks):
        levels, scales, minima = piece, cast(piece + SCALES_AT, F32), cast(piece + MINIMA_AT, F32)
        for first in range(0, n_blocks, blocks_per_span):
            super_scale, super_min = read_header(w, lanes)
            w = w + header_bytes
            for _ in range(first, first + blocks_per_span):
                if is_bytes:
                    for j in range(8):
                        value = load(cast(w + 64 * j, I8), n_bytes, n_parts, n_bytes)
                        put_signed(levels + step_bytes * j, value)
                else:
                    low_bits = load(w + low_at, n_bytes, n_parts, n_bytes)
                    high_bits = load(w + high_at, n_bytes, n_parts, n_bytes)
                    for j in range(4):
                        put(levels + step_bytes * j, low_levels(w, n_bytes, low_bits, j))
                        put(levels + step_bytes * (4 + j), high_levels(w, n_bytes, high_bits, j))
                if in_pairs:
                    widen_steps(levels)
                s = w + quant_bytes
                store(scales, scale_of(s, 0, super_scale, lanes, lanes), lanes)
                if by_16:
                    store(scales + TILE_ROWS, scale_of(s, 1, super_scale, lanes, lanes), lanes)
                if has_min:
                    store(minima, minimum_of(s, 0, super_min, lanes, lanes), lanes)
                    if by_16:
                        store(minima + TILE_ROWS, minimum_of(s, 1, super_min, lanes, lanes), lanes)
                levels, scales, minima = levels + bytes_per_block, scales + n_scales, minima + n_scales
                w = w + block_bytes

    return unpack
