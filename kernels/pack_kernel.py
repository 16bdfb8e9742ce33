"""The compiled twin of `pack.py`: one kernel for each block format moves a tensor's blocks into its compute
layout.

Each thread packs whole tiles. Within a tile the kernel goes through the 16 rows, and in a row through the
blocks, and writes every 4 bytes (4 columns of one row) to the row's lane of the 32-byte vector they belong
to. `pack.py` is the definition; the two agree to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..gguf_io import formats
from ..gguf_io.formats import BlockFormat
from .kernel import Call, Kernel, kernel
from .layout import TILE_ROWS, Layout
from .pack import PACKERS
from .pointer import I32, I64, U8, U16, Pointer, cast
from .record import PointerTo, Record
from .rows import share
from .source import called, inlined

PACK = Record(
    blocks=PointerTo(U8), packed=PointerTo(U8), n_rows=I64, row_spans=I64, first_tile=I64, last_tile=I64
)

NIBBLES = 0x0F0F0F0F
TWO_BITS = 0x03030303


@inlined
def word(p: Pointer, j: int) -> int:
    """Bytes 4j … 4j+3 as an integer."""
    return cast(p, I32)[j]


@inlined
def put_word(vectors: Pointer, j: int, value: int) -> None:
    """Write 4 bytes to vector j; `vectors` points at the row's lane of vector 0."""
    cast(vectors, I32)[8 * j] = value


@inlined
def copy_words(source: Pointer, vectors: Pointer, n: int) -> None:
    """n x 4 bytes of a row, each to its vector."""
    for j in range(n):
        put_word(vectors, j, word(source, j))


@inlined
def copy_half(source: Pointer, scales: Pointer, row: int) -> None:
    """A float16 to the row's place among 16."""
    cast(scales, U16)[row] = cast(source, U16)[0]


@called
def turn_bits(bits: int) -> int:
    """Bit k of 32 -> bit s of byte c, with k = 4s + c: an 8 x 4 matrix of bits turned over."""
    turned = 0
    for c in range(4):
        for s in range(8):
            turned |= (bits >> (4 * s + c) & 1) << (8 * c + s)
    return turned


@inlined
def fifth_of_bytes(source: Pointer, shift: int) -> int:
    """Bit `shift` of 32 bytes, turned over likewise."""
    turned = 0
    for s in range(8):
        turned |= (word(source, s) >> shift & 0x01010101) << s
    return turned


@inlined
def join_nibbles(first: int, second: int, shift: int) -> int:
    """Nibbles at `shift` of the bytes of two words: the first in the low, the second in the high half of
    each byte."""
    return (first >> shift & NIBBLES) | (second >> shift & NIBBLES) << 4


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


def _packer(format: BlockFormat, layout: Layout) -> Callable[..., Any]:
    """Make the function that packs one (super-)block of one row; `span` is where its tile's span lies."""
    block_bytes, header_bytes, scales_at = layout.block_bytes, layout.header_bytes, layout.quant_bytes
    has_fifth = layout.bits == 5
    fields = format.dtype.fields if format.dtype is not None else None
    offsets = {name: at for name, (_, at, *_) in (fields or {}).items()}
    d, m, qs, qh = (offsets.get(name, 0) for name in ("d", "m", "qs", "qh"))
    dmin, scales, ql = (offsets.get(name, 0) for name in ("dmin", "scales", "ql"))
    has_min, n_words = layout.has_min, 8 if layout.bits == 8 else 4

    @inlined
    def pack_plain(source, span, row):  # type: ignore[no-untyped-def]
        group, lane = row // 8, row % 8 * 4
        copy_words(source + qs, span + group * 32 * n_words + lane, n_words)
        if has_fifth:
            put_word(span + 256 + group * 32 + lane, 0, turn_bits(word(source + qh, 0)))
        copy_half(source + d, span + scales_at, row)
        if has_min:
            copy_half(source + m, span + scales_at + 32, row)

    @inlined
    def pack_k(source, span, row):  # type: ignore[no-untyped-def]
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

    @inlined
    def pack_six(source, span, row):  # type: ignore[no-untyped-def]
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

    if format is formats.Q6_K:
        return pack_six
    return pack_k if layout.is_super else pack_plain


@cache
def pack_kernel(format: BlockFormat) -> Kernel:
    """The kernel that packs tensors of `format`."""
    layout, _ = PACKERS[format]
    pack_span = _packer(format, layout)
    span_bytes, file_bytes = layout.span_bytes, format.block_bytes

    @kernel(PACK, f"pack_{format.name.lower()}")
    def pack(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
        n_spans = args.row_spans
        first, last = share(args.last_tile - args.first_tile, thread_id, n_threads)
        for tile in range(args.first_tile + first, args.first_tile + last):
            for i in range(n_spans):
                span = args.packed + (tile * n_spans + i) * span_bytes
                for row in range(min(TILE_ROWS, args.n_rows - tile * TILE_ROWS)):
                    pack_span(args.blocks + ((tile * TILE_ROWS + row) * n_spans + i) * file_bytes, span, row)

    return pack


def bind_pack(
    format: BlockFormat, data: NDArray[np.uint8], shape: tuple[int, int]
) -> tuple[Layout, NDArray[np.uint8], Call]:
    """The layout, the memory, and the call that packs a (n_out, n_in) matrix into it; as `pack.pack`.

    A large matrix can be packed a part at a time: set the call's `first_tile` and `last_tile`.
    Raises ValueError if `format` has no compute layout or the sizes do not belong together.
    """
    if format not in PACKERS:
        raise ValueError(f"{format.name} has no compute layout")
    layout, _ = PACKERS[format]
    n_out, n_in = shape
    if data.size != format.nbytes(n_out * n_in) or n_in % format.block_size:
        raise ValueError(f"{data.size} bytes are not a {n_out} x {n_in} matrix of {format.name}")
    n_tiles = -(-n_out // TILE_ROWS)
    packed = np.zeros((n_tiles, layout.tile_bytes(n_in)), np.uint8)
    row_spans = n_in // format.block_size
    call = pack_kernel(format).bind(
        blocks=data, packed=packed, n_rows=n_out, row_spans=row_spans, first_tile=0, last_tile=n_tiles
    )
    return layout, packed, call
