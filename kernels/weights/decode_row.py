"""A row of a matrix, straight from the file's bytes, as float32: dequantization inside kernels.

`row_decoder(format)` makes a function `decode(source, out, width, scale)` for kernels to inline: it writes
the `width` values of the row at `source`, each times `scale`, to `out`. The float operations are those of
dequantization in NumPy (gguf_io), in the same order, so that the results have the same bits.

Vectors have 16 lanes: nibbles come in runs of 16 bytes, and the smallest group with a scale has 16 values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...gguf_io import formats
from ...gguf_io.formats import BlockFormat
from ..language.pointer import F16, F32, I8, I32, U16, Pointer, cast
from ..language.simd import bf16_to_f32, lane_numbers, load, load_splat, store, to_f32
from ..language.source import inlined

GROUP = 16  # values of the smallest group with a scale, and lanes

Decode = Callable[..., Any]


@inlined
def half(p: Pointer) -> np.ndarray:
    """The float16 at `p` in every lane, as float32."""
    return to_f32(load_splat(cast(p, F16), GROUP))


@inlined
def k_scale(scales: Pointer, i: int) -> int:
    """Six-bit scale i (0 … 7) or minimum i - 8 of the 12 bytes of Q4_K and Q5_K."""
    if i < 4:
        return scales[i] & 63
    if i < 8:
        return scales[i + 4] & 15 | scales[i - 4] >> 6 << 4
    if i < 12:
        return scales[i - 4] & 63
    return scales[i - 4] >> 4 | scales[i - 8] >> 6 << 4


def offsets_of(format: BlockFormat) -> dict[str, int]:
    """Where each field lies in a block."""
    fields = format.dtype.fields if format.dtype is not None else None
    return {name: at for name, (_, at, *_) in (fields or {}).items()}


def _floats(format: BlockFormat) -> Decode:
    """F32, F16, BF16: rows of any width."""
    is_f32, is_f16 = format is formats.F32, format is formats.F16
    element = F32 if is_f32 else F16 if is_f16 else U16

    @inlined
    def as_f32(v):
        if is_f32:
            return v
        if is_f16:
            return to_f32(v)
        return bf16_to_f32(v)

    @inlined
    def decode(source, out, width, scale):
        values, whole = cast(source, element), width - width % GROUP
        for j in range(0, whole, GROUP):
            store(out + j, as_f32(load(values + j, GROUP)) * scale)
        for j in range(whole, width):
            store(out + j, as_f32(load(values + j, 1)) * scale)

    return decode


def _in_blocks(format: BlockFormat, decode_block: Decode) -> Decode:
    """A row of blocks from the function that decodes one."""
    block_size, block_bytes = format.block_size, format.block_bytes

    @inlined
    def decode(source, out, width, scale):
        for i in range(width // block_size):
            decode_block(source + i * block_bytes, out + i * block_size, scale)

    return decode


def _nibbles(format: BlockFormat) -> Decode:
    """Q4_0, Q4_1, Q5_0, Q5_1: d * (q - offset), or d * q + m."""
    offsets = offsets_of(format)
    has_min, has_fifth = "m" in offsets, "qh" in offsets
    d, m, qh, qs = (offsets.get(name, 0) for name in ("d", "m", "qh", "qs"))
    offset = 16.0 if has_fifth else 8.0

    @inlined
    def fifths(source, first):
        """0 or 16 for each of the values `first` … `first + 15`."""
        bits = load_splat(cast(source + qh, I32), GROUP) >> (lane_numbers(GROUP) + first)
        return to_f32((bits & 1) << 4)

    @inlined
    def put(source, out, nibbles, first, scale):
        levels = to_f32(nibbles)
        if has_fifth:
            levels = levels + fifths(source, first)
        if has_min:
            values = levels * half(source + d) + half(source + m)
        else:
            values = (levels - offset) * half(source + d)
        store(out + first, values * scale)

    @inlined
    def decode_block(source, out, scale):
        nibbles = load(source + qs, GROUP)
        put(source, out, nibbles & 15, 0, scale)
        put(source, out, nibbles >> 4, GROUP, scale)

    return _in_blocks(format, decode_block)


def _bytes(format: BlockFormat) -> Decode:
    """Q8_0: d * q."""
    offsets = offsets_of(format)
    d, qs = offsets["d"], offsets["qs"]

    @inlined
    def decode_block(source, out, scale):
        levels = load(cast(source + qs, I8), GROUP, 2, GROUP)
        store(out, to_f32(levels) * half(source + d) * scale, GROUP)

    return _in_blocks(format, decode_block)


def _scales_and_mins(format: BlockFormat) -> Decode:
    """Q4_K, Q5_K: 8 groups of 32, (d * sc) * q - dmin * mn."""
    offsets = offsets_of(format)
    has_fifth = "qh" in offsets
    d, dmin, scales, qh, qs = (offsets.get(name, 0) for name in ("d", "dmin", "scales", "qh", "qs"))

    @inlined
    def put(source, out, levels, group, scale):
        factor = half(source + d) * np.float32(k_scale(source + scales, group))
        minimum = half(source + dmin) * np.float32(k_scale(source + scales, group + 8))
        store(out + group * 32, (to_f32(levels) * factor - minimum) * scale, GROUP)

    @inlined
    def decode_block(source, out, scale):
        fifths = load(source + qh, GROUP, 2, GROUP)  # the next two bits of each byte are the next two groups'
        for pair in range(4):
            nibbles = load(source + qs + pair * 32, GROUP, 2, GROUP)
            first, second = nibbles & 15, nibbles >> 4
            if has_fifth:
                first, second = first | (fifths & 1) << 4, second | (fifths & 2) << 3
                fifths = fifths >> 2
            put(source, out, first, 2 * pair, scale)
            put(source, out, second, 2 * pair + 1, scale)

    return _in_blocks(format, decode_block)


def _six_bits(format: BlockFormat) -> Decode:
    """Q6_K: 16 groups of 16, (d * sc) * (q - 32)."""
    offsets = offsets_of(format)
    d, scales, ql, qh = (offsets[name] for name in ("d", "scales", "ql", "qh"))

    @inlined
    def put(source, out, levels, run, scale):
        """A run is two groups."""
        group_scales = to_f32(load_splat(cast(source + scales + 2 * run, I8), GROUP, 2, 1))
        values = (to_f32(levels) - 32.0) * (half(source + d) * group_scales)
        store(out + 32 * run, values * scale, GROUP)

    @inlined
    def decode_block(source, out, scale):
        for i in range(2):
            low = load(source + ql + i * 64, GROUP, 2, GROUP)
            low_odd = load(source + ql + i * 64 + 32, GROUP, 2, GROUP)
            high = load(source + qh + i * 32, GROUP, 2, GROUP)
            put(source, out, low & 15 | (high & 3) << 4, 4 * i, scale)
            put(source, out, low_odd & 15 | (high & 12) << 2, 4 * i + 1, scale)
            put(source, out, low >> 4 | high & 48, 4 * i + 2, scale)
            put(source, out, low_odd >> 4 | (high & 192) >> 2, 4 * i + 3, scale)

    return _in_blocks(format, decode_block)


ROW_DECODERS: dict[BlockFormat, Callable[[BlockFormat], Decode]] = {
    formats.F32: _floats,
    formats.F16: _floats,
    formats.BF16: _floats,
    formats.Q4_0: _nibbles,
    formats.Q4_1: _nibbles,
    formats.Q5_0: _nibbles,
    formats.Q5_1: _nibbles,
    formats.Q8_0: _bytes,
    formats.Q4_K: _scales_and_mins,
    formats.Q5_K: _scales_and_mins,
    formats.Q6_K: _six_bits,
}
"""The formats whose rows kernels can decode."""


def row_decoder(format: BlockFormat) -> Decode:
    """The function that decodes a row of `format`; ValueError if there is none."""
    if format not in ROW_DECODERS:
        raise ValueError(f"kernels cannot decode rows of {format.name}")
    return ROW_DECODERS[format](format)
