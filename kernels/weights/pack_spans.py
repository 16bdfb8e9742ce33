"""Functions that pack a block of 8 rows, for each format: (source, span, group, stride).

`source` is the first row's block in the file, `stride` the bytes from there to the next row's; `span` is
where the first span of the block is in the tile, `group` which half of the tile's rows it is (0 or 1). They
give the same bytes as the packing in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...gguf_io import formats
from ...gguf_io.formats import BlockFormat
from ..language.simd import part, where_less
from ..language.source import inlined
from .layout import Layout
from .pack_words import (
    NIBBLES,
    bit_of_bytes,
    copy_byte,
    copy_byte_pairs,
    copy_half,
    eight_words,
    four_words,
    join_nibbles,
    join_upper_bits,
    one_word,
    put_bytes,
    put_two_bits,
    put_words,
    transpose_bits,
)

Span = Callable[..., Any]
SIX_BITS = 0x3F3F3F3F
UPPER_TWO = 0x30303030


def offsets_of(format: BlockFormat, *names: str) -> tuple[int, ...]:
    """Where the fields of a block begin; 0 for a field that the format does not have."""
    fields = format.dtype.fields if format.dtype is not None and format.dtype.fields else {}
    return tuple(fields[name][1] if name in fields else 0 for name in names)


def plain(format: BlockFormat, layout: Layout) -> Span:
    """Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL: levels as they are, float16 scales."""
    scales_at, has_fifth, has_min = layout.quant_bytes, layout.bits == 5, layout.has_min
    all_words = eight_words if layout.bits == 8 else four_words
    d, m, qs, qh = offsets_of(format, "d", "m", "qs", "qh")

    @inlined
    def pack_rows(source, span, group, stride):
        put_words(span + group * 32, all_words(source + qs, stride))
        if has_fifth:
            put_words(span + 256 + group * 32, transpose_bits(one_word(source + qh, stride)))
        scales = span + scales_at + 16 * group
        copy_half(source + d, scales, stride)
        if has_min:
            copy_half(source + m, scales + 32, stride)

    return pack_rows


def nibbles_and_mins(format: BlockFormat, layout: Layout) -> Span:
    """Q4_K, Q5_K."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    has_fifth = layout.bits == 5
    d, dmin, scales, qs, qh = offsets_of(format, "d", "dmin", "scales", "qs", "qh")

    @inlined
    def pack_rows(source, span, group, stride):
        copy_half(source + d, span + 16 * group, stride)
        copy_half(source + dmin, span + 32 + 16 * group, stride)
        blocks = span + header_bytes
        if has_fifth:
            fifths = eight_words(source + qh, stride)
        for pair in range(4):
            levels = source + qs + 32 * pair
            first, second = four_words(levels, stride), four_words(levels + 16, stride)
            for half in range(2):
                b = 2 * pair + half
                block = blocks + b * block_bytes
                put_words(block + group * 32, join_nibbles(first, second, 4 * half))
                if has_fifth:
                    put_words(block + 256 + group * 32, bit_of_bytes(fifths, b))
        low_scales, low_mins = one_word(source + scales, stride), one_word(source + scales + 4, stride)
        upper = one_word(source + scales + 8, stride)
        high_scales = upper & NIBBLES | low_scales >> 2 & UPPER_TWO
        high_mins = upper >> 4 & NIBBLES | low_mins >> 2 & UPPER_TWO
        low_scales, low_mins = low_scales & SIX_BITS, low_mins & SIX_BITS
        for b in range(4):
            block = blocks + b * block_bytes + scales_at + 8 * group
            put_bytes(block, low_scales >> (8 * b))
            put_bytes(block + 16, low_mins >> (8 * b))
            block = block + 4 * block_bytes
            put_bytes(block, high_scales >> (8 * b))
            put_bytes(block + 16, high_mins >> (8 * b))

    return pack_rows


def six_bits(format: BlockFormat, layout: Layout) -> Span:
    """Q6_K."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, scales, ql, qh = offsets_of(format, "d", "scales", "ql", "qh")

    @inlined
    def pack_rows(source, span, group, stride):
        copy_half(source + d, span + 16 * group, stride)
        blocks = span + header_bytes
        for four in range(2):
            upper = source + qh + 32 * four
            upper_first, upper_second = four_words(upper, stride), four_words(upper + 16, stride)
            for odd in range(2):
                low = source + ql + 64 * four + 32 * odd
                first, second = four_words(low, stride), four_words(low + 16, stride)
                for half in range(2):
                    block = blocks + (4 * four + 2 * half + odd) * block_bytes
                    put_words(block + group * 32, join_nibbles(first, second, 4 * half))
                    shift, two_bits = 4 * half + 2 * odd, block + 256 + group * 32
                    put_words(two_bits, join_upper_bits(upper_first, shift))
                    put_words(two_bits + 64, join_upper_bits(upper_second, shift))
        copy_byte_pairs(source + scales, blocks + scales_at + 8 * group, stride, block_bytes)

    return pack_rows


def two_bits(format: BlockFormat, layout: Layout) -> Span:
    """Q2_K, whose bytes of scales and minima stay as they are."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, dmin, scales, qs = offsets_of(format, "d", "dmin", "scales", "qs")

    @inlined
    def pack_rows(source, span, group, stride):
        copy_half(source + d, span + 16 * group, stride)
        copy_half(source + dmin, span + 32 + 16 * group, stride)
        blocks = span + header_bytes
        for four in range(2):
            levels = source + qs + 32 * four
            first, second = four_words(levels, stride), four_words(levels + 16, stride)
            for i in range(4):
                vectors = blocks + (4 * four + i) * block_bytes + group * 32
                put_two_bits(vectors, first, second, 2 * i)
        copy_byte_pairs(source + scales, blocks + scales_at + 8 * group, stride, block_bytes)

    return pack_rows


def three_bits(format: BlockFormat, layout: Layout) -> Span:
    """Q3_K."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, scales, qs, hmask = offsets_of(format, "d", "scales", "qs", "hmask")

    @inlined
    def pack_rows(source, span, group, stride):
        copy_half(source + d, span + 16 * group, stride)
        blocks = span + header_bytes
        thirds = eight_words(source + hmask, stride)
        for four in range(2):
            levels = source + qs + 32 * four
            low, high = four_words(levels, stride), four_words(levels + 16, stride)
            for i in range(4):
                b = 4 * four + i
                block = blocks + b * block_bytes
                put_two_bits(block + group * 32, low, high, 2 * i)
                put_words(block + 128 + group * 32, bit_of_bytes(thirds, b))
        first, second = one_word(source + scales, stride), one_word(source + scales + 4, stride)
        upper = one_word(source + scales + 8, stride)
        for i in range(4):  # byte i of each word: scales i, 4 + i, 8 + i and 12 + i, two in each block
            to = blocks + i // 2 * block_bytes + scales_at + 16 * (i % 2) + 8 * group
            for half in range(2):
                two = upper >> (8 * i + 4 * half)
                put_bytes(to, (first >> (8 * i + 4 * half) & 15 | (two & 3) << 4) - 32)
                to = to + 2 * block_bytes
                put_bytes(to, (second >> (8 * i + 4 * half) & 15 | (two & 12) << 2) - 32)
                to = to + 2 * block_bytes

    return pack_rows


def two_bits_alone(format: BlockFormat, layout: Layout) -> Span:
    """TQ2_0: four spans, all with the scale of the block."""
    block_bytes, header_bytes, span_bytes = layout.block_bytes, layout.header_bytes, layout.span_bytes
    d, qs = offsets_of(format, "d", "qs")

    @inlined
    def pack_rows(source, span, group, stride):
        for four in range(2):
            levels = source + qs + 32 * four
            first, second = four_words(levels, stride), four_words(levels + 16, stride)
            for i in range(4):
                own = span + (2 * four + i // 2) * span_bytes
                copy_half(source + d, own + 16 * group, stride)
                vectors = own + header_bytes + i % 2 * block_bytes + group * 32
                put_two_bits(vectors, first, second, 2 * i)

    return pack_rows


def nibbles_of_table(format: BlockFormat, layout: Layout) -> Span:
    """IQ4_XS."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    d, low, qs = offsets_of(format, "d", "scales_l", "qs")

    @inlined
    def pack_rows(source, span, group, stride):
        copy_half(source + d, span + 16 * group, stride)
        four_bits = one_word(source + low, stride)
        two_bits = one_word(source + d, stride)  # `scales_h` are its upper two bytes
        for b in range(8):
            block = span + header_bytes + b * block_bytes
            put_words(block + group * 32, four_words(source + qs + 16 * b, stride))
            scale = four_bits >> (4 * b) & 15 | (two_bits >> (16 + 2 * b) & 3) << 4
            put_bytes(block + scales_at + 8 * group, scale - 32)

    return pack_rows


def float4(format: BlockFormat, layout: Layout) -> Span:
    """MXFP4."""
    scales_at = layout.quant_bytes
    e, qs = offsets_of(format, "e", "qs")

    @inlined
    def pack_rows(source, span, group, stride):
        put_words(span + group * 32, four_words(source + qs, stride))
        copy_byte(source + e, span + scales_at + 8 * group, stride)

    return pack_rows


def float4_by_16(format: BlockFormat, layout: Layout) -> Span:
    """NVFP4: two spans; a group of 16 has its first 8 values in low nibbles."""
    span_bytes, scales_at = layout.span_bytes, layout.quant_bytes
    d, qs = offsets_of(format, "d", "qs")

    @inlined
    def pack_rows(source, span, group, stride):
        all_scales = one_word(source + d, stride)
        for b in range(2):
            own, words = span + b * span_bytes, four_words(source + qs + 16 * b, stride)
            first, second = part(words, 0, 2), part(words, 2, 2)
            put_words(own + group * 32, join_nibbles(first, second, 0))
            put_words(own + group * 32 + 128, join_nibbles(first, second, 4))
            for half in range(2):
                scale = all_scales >> (16 * b + 8 * half) & 255
                number = where_less(scale ^ 127, 1, 0, scale & 127)  # NaN, which is 127, counts as 0
                put_bytes(own + scales_at + 16 * half + 8 * group, number)

    return pack_rows


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
