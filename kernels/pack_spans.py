"""How the compiled packing moves one block of one row, for each format: (source, span, row).

`source` is the block in the file, `span` where its first span lies in the tile (`layout.py`), `row` is
0 to 15. `pack.py` defines what they have to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..gguf_io import formats
from ..gguf_io.formats import BlockFormat
from .layout import Layout
from .pack_words import (
    TWO_BITS,
    copy_half,
    copy_words,
    fifth_of_bytes,
    join_nibbles,
    k_scale,
    put_word,
    q3_scale,
    turn_bits,
    two_bits_of,
    word,
)
from .source import inlined

Span = Callable[..., Any]


def offsets_of(format: BlockFormat, *names: str) -> tuple[int, ...]:
    """Where the fields of a block begin; 0 for one that the format has not."""
    fields = format.dtype.fields if format.dtype is not None and format.dtype.fields else {}
    return tuple(fields[name][1] if name in fields else 0 for name in names)


def plain(format: BlockFormat, layout: Layout) -> Span:
    """Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL: levels as they are, float16 scales."""
    scales_at, has_fifth, has_min = layout.quant_bytes, layout.bits == 5, layout.has_min
    n_words = 8 if layout.bits == 8 else 4
    d, m, qs, qh = offsets_of(format, "d", "m", "qs", "qh")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        copy_words(source + qs, span + group * 32 * n_words + lane, n_words)
        if has_fifth:
            put_word(span + 256 + group * 32 + lane, 0, turn_bits(word(source + qh, 0)))
        copy_half(source + d, span + scales_at, row)
        if has_min:
            copy_half(source + m, span + scales_at + 32, row)

    return pack_span


def nibbles_and_mins(format: BlockFormat, layout: Layout) -> Span:
    """Q4_K, Q5_K."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    has_fifth = layout.bits == 5
    d, dmin, scales, qs, qh = offsets_of(format, "d", "dmin", "scales", "qs", "qh")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        copy_half(source + d, span, row)
        copy_half(source + dmin, span + 32, row)
        for b in range(8):
            block = span + header_bytes + b * block_bytes
            bytes_64 = source + qs + b // 2 * 32
            for j in range(4):
                value = join_nibbles(word(bytes_64, j), word(bytes_64, j + 4), b % 2 * 4)
                put_word(block + group * 128 + lane, j, value)
            if has_fifth:
                put_word(block + 256 + group * 32 + lane, 0, fifth_of_bytes(source + qh, b))
            block[scales_at + row] = k_scale(source + scales, b)
            block[scales_at + 16 + row] = k_scale(source + scales, b + 8)

    return pack_span


def six_bits(format: BlockFormat, layout: Layout) -> Span:
    """Q6_K."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, scales, ql, qh = offsets_of(format, "d", "scales", "ql", "qh")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        copy_half(source + d, span, row)
        for b in range(8):
            block = span + header_bytes + b * block_bytes
            low = source + ql + b // 4 * 64 + b % 2 * 32
            high = source + qh + b // 4 * 32
            for j in range(4):
                value = join_nibbles(word(low, j), word(low, j + 4), b % 4 // 2 * 4)
                put_word(block + group * 128 + lane, j, value)
            for half in range(2):
                shift, at = b % 4 * 2, half * 4
                upper = (word(high, at) >> shift & TWO_BITS) << 4
                upper |= (word(high, at + 1) >> shift & TWO_BITS) << 6
                upper |= word(high, at + 2) >> shift & TWO_BITS
                upper |= (word(high, at + 3) >> shift & TWO_BITS) << 2
                put_word(block + 256 + group * 64 + lane, half, upper)
                block[scales_at + 16 * half + row] = source[scales + 2 * b + half]

    return pack_span


def two_bits(format: BlockFormat, layout: Layout) -> Span:
    """Q2_K, whose bytes of scales and minima stay as they are."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, dmin, scales, qs = offsets_of(format, "d", "dmin", "scales", "qs")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        copy_half(source + d, span, row)
        copy_half(source + dmin, span + 32, row)
        for b in range(8):
            block = span + header_bytes + b * block_bytes
            for half in range(2):
                value = two_bits_of(source + qs + b // 4 * 32, 4 * half, b % 4 * 2)
                put_word(block + group * 64 + lane, half, value)
                block[scales_at + 16 * half + row] = source[scales + 2 * b + half]

    return pack_span


def three_bits(format: BlockFormat, layout: Layout) -> Span:
    """Q3_K."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, scales, qs, hmask = offsets_of(format, "d", "scales", "qs", "hmask")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        copy_half(source + d, span, row)
        for b in range(8):
            block = span + header_bytes + b * block_bytes
            for half in range(2):
                value = two_bits_of(source + qs + b // 4 * 32, 4 * half, b % 4 * 2)
                put_word(block + group * 64 + lane, half, value)
                block[scales_at + 16 * half + row] = (q3_scale(source + scales, 2 * b + half) - 32) & 255
            put_word(block + 128 + group * 32 + lane, 0, fifth_of_bytes(source + hmask, b))

    return pack_span


def two_bits_alone(format: BlockFormat, layout: Layout) -> Span:
    """TQ2_0: four spans, all with the scale of the block."""
    block_bytes, header_bytes, span_bytes = layout.block_bytes, layout.header_bytes, layout.span_bytes
    d, qs = offsets_of(format, "d", "qs")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        for b in range(8):
            own = span + b // 2 * span_bytes
            copy_half(source + d, own, row)
            for half in range(2):
                value = two_bits_of(source + qs + b // 4 * 32, 4 * half, b % 4 * 2)
                put_word(own + header_bytes + b % 2 * block_bytes + group * 64 + lane, half, value)

    return pack_span


def nibbles_of_table(format: BlockFormat, layout: Layout) -> Span:
    """IQ4_XS."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, low, high, qs = offsets_of(format, "d", "scales_l", "scales_h", "qs")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        copy_half(source + d, span, row)
        for b in range(8):
            block = span + header_bytes + b * block_bytes
            copy_words(source + qs + 16 * b, block + group * 128 + lane, 4)
            four_bits = source[low + b // 2] >> (b % 2 * 4) & 15
            six_bits = (source[high + b // 4] >> (b % 4 * 2) & 3) << 4 | four_bits
            block[scales_at + row] = (six_bits - 32) & 255

    return pack_span


def float4(format: BlockFormat, layout: Layout) -> Span:
    """MXFP4."""
    scales_at = layout.quant_bytes
    e, qs = offsets_of(format, "e", "qs")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        copy_words(source + qs, span + row // 8 * 128 + row % 8 * 4, 4)
        span[scales_at + row] = source[e]

    return pack_span


def float4_by_16(format: BlockFormat, layout: Layout) -> Span:
    """NVFP4: two spans; a group of 16 has its first 8 values in low nibbles."""
    span_bytes, scales_at = layout.span_bytes, layout.quant_bytes
    d, qs = offsets_of(format, "d", "qs")

    @inlined
    def pack_span(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        for b in range(2):
            own, first = span + b * span_bytes, source + qs + 16 * b
            for j in range(4):
                value = join_nibbles(word(first, j % 2), word(first, j % 2 + 2), j // 2 * 4)
                put_word(own + group * 128 + lane, j, value)
            for half in range(2):
                scale = source[d + 2 * b + half]
                own[scales_at + 16 * half + row] = 0 if scale == 127 else scale & 127

    return pack_span


SPANS: dict[BlockFormat, Callable[[BlockFormat, Layout], Span]] = {
    formats.Q4_0: plain,
    formats.Q4_1: plain,
    formats.Q5_0: plain,
    formats.Q5_1: plain,
    formats.Q8_0: plain,
    formats.Q2_K: two_bits,
    formats.Q3_K: three_bits,
    formats.Q4_K: nibbles_and_mins,
    formats.Q5_K: nibbles_and_mins,
    formats.Q6_K: six_bits,
    formats.IQ4_NL: plain,
    formats.IQ4_XS: nibbles_of_table,
    formats.TQ2_0: two_bits_alone,
    formats.MXFP4: float4,
    formats.NVFP4: float4_by_16,
}
"""The formats that are packed by compiled code."""
