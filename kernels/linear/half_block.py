"""Adds half a block of packed weights to a dot state: 16 columns, in 4 steps of 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..language.simd import dot_signed, dot_spill, dot_unsigned, load
from ..language.source import inlined
from ..language.unpack import lookup
from ..weights.layout import Layout
from .block_scales import RegisterTile

Function = Callable[..., Any]


def half_block(layout: Layout, half: int, shape: RegisterTile) -> Function:
    """Make the function that adds columns 0-15 (`half` 0) or 16-31 of a block to a dot state.

    `f(state, w, w_stride, upper, x, stride)`: the block is at w, the vectors of one step are w_stride apart;
    `upper` are the separate upper bits (`upper_bits_at`); activations are at x, those of the next token
    `stride` after them.
    """
    return four_steps(layout, step_levels(layout, half, shape), _adding(layout, shape.n_tokens))


def four_steps(layout: Layout, levels_of_step: Function, add_step: Function) -> Function:
    """Make the function that adds 16 columns to a dot state, like `half_block`, and spills int16 sums in
    time."""
    n_steps = spill_every(layout)
    spill_at_1, spill_at_2, spill_at_4 = n_steps == 1, n_steps <= 2, n_steps <= 4

    @inlined
    def add_half(state, w, w_stride, upper, x, stride):
        # Written out: LLVM does not unroll loops of this size.
        state = add_step(state, levels_of_step(w, w_stride, upper, 0), x, stride)
        if spill_at_1:
            state = dot_spill(state)
        state = add_step(state, levels_of_step(w, w_stride, upper, 1), x + 4, stride)
        if spill_at_2:
            state = dot_spill(state)
        state = add_step(state, levels_of_step(w, w_stride, upper, 2), x + 8, stride)
        if spill_at_1:
            state = dot_spill(state)
        state = add_step(state, levels_of_step(w, w_stride, upper, 3), x + 12, stride)
        if spill_at_4:
            state = dot_spill(state)
        return state

    return add_half


def upper_bits_at(layout: Layout) -> tuple[int, int]:
    """Where in a block the separate upper bits begin, for each half."""
    return {3: (128, 128), 5: (256, 256), 6: (256, 320)}.get(layout.bits, (0, 0))


def step_levels(layout: Layout, half: int, shape: RegisterTile) -> Function:
    """Make the function that gives the levels, or indices into the table, of step j of a half: 4 columns of
    all rows. `f(w, w_stride, upper, j)`, with arguments like those of `half_block`."""
    return (_two_or_three_bits if layout.bits < 4 else _nibbles_and_more)(layout, half, shape)


def _nibbles_and_more(layout: Layout, half: int, shape: RegisterTile) -> Function:
    """`step_levels` for 4 to 6 bits."""
    bits, n_bytes, n_groups = layout.bits, 4 * shape.lanes, shape.n_groups

    @inlined
    def levels_of_step(w, w_stride, upper, j):
        levels = load(w + 64 * j, n_bytes, n_groups, w_stride)
        if half:
            levels = levels >> 4
        else:
            levels = levels & 15
        if bits == 5:
            levels = levels | (upper >> j & 16 if half else upper << (4 - j) & 16)
        elif bits == 6:
            levels = levels | (upper >> (2 * j) & 48 if j < 2 else upper << (8 - 2 * j) & 48)
        return levels

    return levels_of_step


def _two_or_three_bits(layout: Layout, half: int, shape: RegisterTile) -> Function:
    """`step_levels` for 2 and 3 bits."""
    has_third, n_bytes, n_groups = layout.bits == 3, 4 * shape.lanes, shape.n_groups

    @inlined
    def levels_of_step(w, w_stride, upper, j):
        levels = load(w + 64 * half, n_bytes, n_groups, w_stride) >> (2 * j) & 3
        if has_third:
            levels = levels | (upper >> (2 + j) & 4 if half else upper << 2 >> j & 4)
        return levels

    return levels_of_step


def spill_every(layout: Layout) -> int:
    """After how many steps int16 sums must be spilled at the latest: 1, 2, 4 or 8; a half has 4 steps, after
    which sums start again. int8 levels need no spilling."""
    if layout.is_signed:
        return 8
    steps_in_int16 = 32767 // (2 * 127 * layout.max_level)
    return next((n for n in (8, 4, 2) if n <= steps_in_int16), 1)


def _adding(layout: Layout, n_tokens: int) -> Function:
    """Make the function that adds the products of a step."""
    table = layout.table

    @inlined
    def plain(state, levels, x, stride):
        return dot_unsigned(state, levels, x, stride, n_tokens)

    @inlined
    def signed(state, places, x, stride):
        return dot_signed(state, lookup(table, places), x, stride, n_tokens)

    @inlined
    def unsigned(state, places, x, stride):
        return dot_unsigned(state, lookup(table, places), x, stride, n_tokens)

    if table is None:
        return plain
    return signed if layout.is_signed else unsigned
