"""Half a block of packed weights (`layout.py`) onto a dot state: 16 columns, in 4 steps of 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .layout import Layout
from .simd import dot_signed, dot_spill, dot_unsigned, load
from .source import inlined
from .unpack import lookup

Function = Callable[..., Any]


def half_block(layout: Layout, half: int, n_tokens: int) -> Function:
    """Make the function that adds columns 0-15 (`half` 0) or 16-31 of a block to a dot state.

    It takes the state, where the block is, the bits that stand apart (`upper_bits_at`), the activations, and
    how far they are from one token to the next.
    """
    if layout.bits < 4:
        return _two_or_three_bits(layout, half, n_tokens)
    if layout.table:
        return _nibbles_of_table(layout, half, n_tokens)
    return _nibbles_and_more(layout, half, n_tokens)


def upper_bits_at(layout: Layout) -> tuple[int, int, int]:
    """Where in a block the bits begin that stand apart, for each half, and how far the other row group is."""
    return {3: (128, 128, 32), 5: (256, 256, 32), 6: (256, 288, 64)}.get(layout.bits, (0, 0, 32))


def _nibbles(half: int) -> Function:
    """Make the function that reads one vector of nibbles for each row group."""

    @inlined
    def nibbles(w):  # type: ignore[no-untyped-def]
        levels = load(w, 32, 2, 128)
        if half:
            return levels >> 4
        return levels & 15

    return nibbles


def _nibbles_and_more(layout: Layout, half: int, n_tokens: int) -> Function:
    bits, nibbles = layout.bits, _nibbles(half)

    @inlined
    def add_half(state, w, upper, x, stride):  # type: ignore[no-untyped-def]
        if bits == 4:
            for j in range(4):
                state = dot_unsigned(state, nibbles(w + 32 * j), x + 4 * j, stride, n_tokens)
        elif bits == 5:
            for j in range(4):
                fifth = upper >> j & 16 if half else upper << (4 - j) & 16
                state = dot_unsigned(state, nibbles(w + 32 * j) | fifth, x + 4 * j, stride, n_tokens)
            state = dot_spill(state)
        else:
            for j in range(2):
                two_bits = upper >> (2 * j) & 48
                state = dot_unsigned(state, nibbles(w + 32 * j) | two_bits, x + 4 * j, stride, n_tokens)
            state = dot_spill(state)
            for j in range(2, 4):
                two_bits = upper << (8 - 2 * j) & 48
                state = dot_unsigned(state, nibbles(w + 32 * j) | two_bits, x + 4 * j, stride, n_tokens)
            state = dot_spill(state)
        return state

    return add_half


def _two_or_three_bits(layout: Layout, half: int, n_tokens: int) -> Function:
    has_third, add_step = layout.bits == 3, _step(layout, n_tokens)

    @inlined
    def add_half(state, w, upper, x, stride):  # type: ignore[no-untyped-def]
        two_bits = load(w + 32 * half, 32, 2, 64)
        for j in range(4):
            levels = two_bits >> (2 * j) & 3
            if has_third:
                levels = levels | (upper >> (2 + j) & 4 if half else upper << 2 >> j & 4)
            state = add_step(state, levels, j, x, stride)
        return state

    return add_half


def _nibbles_of_table(layout: Layout, half: int, n_tokens: int) -> Function:
    nibbles, add_step = _nibbles(half), _step(layout, n_tokens)

    @inlined
    def add_half(state, w, upper, x, stride):  # type: ignore[no-untyped-def]
        for j in range(4):
            state = add_step(state, nibbles(w + 32 * j), j, x, stride)
        return state

    return add_half


def _step(layout: Layout, n_tokens: int) -> Function:
    """Make the function that adds step `j` of a half, and spills before int16 sums could overflow."""
    table, is_signed = layout.table, layout.is_signed
    steps_in_int16 = 32767 // (2 * 127 * layout.max_level)
    spill_every = next(n for n in (8, 4, 2, 1) if n <= steps_in_int16)  # a half has 4: the next begins anew

    @inlined
    def plain(state, levels, j, x, stride):  # type: ignore[no-untyped-def]
        return dot_unsigned(state, levels, x + 4 * j, stride, n_tokens)

    @inlined
    def signed(state, places, j, x, stride):  # type: ignore[no-untyped-def]
        return dot_signed(state, lookup(table, places), x + 4 * j, stride, n_tokens)

    @inlined
    def unsigned(state, places, j, x, stride):  # type: ignore[no-untyped-def]
        state = dot_unsigned(state, lookup(table, places), x + 4 * j, stride, n_tokens)
        if (j + 1) % spill_every == 0:
            state = dot_spill(state)
        return state

    if table is None:
        return plain
    return signed if is_signed else unsigned
