"""File blocks -> compute layouts (`layout.py`), one function per block format, in NumPy.

Every function takes the matrix's bytes as (n_rows, n_blocks) structured blocks, with n_rows already a
multiple of 16 (zero blocks behind the last row), and returns the parts of a block: its levels as bytes in the
order of the layout, and its scales. `pack` puts the parts where the kernel expects them. No value changes:
the same weights, in another order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..gguf_io import formats
from ..gguf_io.formats import BlockFormat
from .layout import (
    BYTE,
    FIVE,
    FIVE_MIN,
    NIBBLE,
    NIBBLE_MIN,
    SUPER_FIVE,
    SUPER_NIBBLE,
    SUPER_SIX,
    TILE_ROWS,
    Layout,
)

Parts = tuple[list[NDArray], list[NDArray], list[NDArray]]
U8 = NDArray[np.uint8]


def _vectors(levels: U8) -> U8:
    """(n_rows, …, 4 * n) bytes of rows -> (tiles, …, 2 groups, n vectors, 32): 8 rows side by side, 4 columns
    each."""
    words = np.ascontiguousarray(levels).view(np.uint32)
    grouped = words.reshape(-1, 2, 8, *words.shape[1:])  # (tiles, g, r, …, n)
    middle = range(3, grouped.ndim - 1)
    return grouped.transpose(0, *middle, 1, grouped.ndim - 1, 2).copy().view(np.uint8)


def _rows(scales: NDArray) -> NDArray:
    """(n_rows, …) scales -> (tiles, …, 16)."""
    tiles = scales.reshape(-1, TILE_ROWS, *scales.shape[1:])
    return np.moveaxis(tiles, 1, -1)


def _fifth_bits(qh: U8) -> U8:
    """(…, 4) bytes, bit k of the 32 -> (…, 4) bytes, bit s of byte c = bit 4s + c: an 8 x 4 bit matrix turned
    over."""
    bits = np.unpackbits(qh, axis=-1, bitorder="little")
    turned = bits.reshape(*qh.shape[:-1], 8, 4).swapaxes(-1, -2)
    return np.packbits(turned, axis=-1, bitorder="little")[..., 0]


def _nibbles_of(low: U8, high: U8) -> U8:
    """Levels of columns 0-15 and 16-31 -> nibble bytes."""
    return low | (high << np.uint8(4))


def _q4_0(blocks: NDArray) -> Parts:
    return [_vectors(blocks["qs"])], [_rows(blocks["d"])], []


def _q4_1(blocks: NDArray) -> Parts:
    return [_vectors(blocks["qs"])], [_rows(blocks["d"]), _rows(blocks["m"])], []


def _q5_0(blocks: NDArray) -> Parts:
    return [_vectors(blocks["qs"]), _vectors(_fifth_bits(blocks["qh"]))], [_rows(blocks["d"])], []


def _q5_1(blocks: NDArray) -> Parts:
    quants, scales, _ = _q5_0(blocks)
    return quants, [*scales, _rows(blocks["m"])], []


def _q8_0(blocks: NDArray) -> Parts:
    return [_vectors(blocks["qs"].view(np.uint8))], [_rows(blocks["d"])], []


def _k_scales(scales: U8) -> tuple[U8, U8]:
    """The 12 bytes of Q4_K and Q5_K -> 8 scales and 8 minima of 6 bits (see gguf_io/dequantize.py)."""
    low_d, low_m, rest = scales[..., 0:4], scales[..., 4:8], scales[..., 8:12]
    d = np.concatenate([low_d & 63, (rest & 15) | ((low_d >> 6) << 4)], axis=-1)
    m = np.concatenate([low_m & 63, (rest >> 4) | ((low_m >> 6) << 4)], axis=-1)
    return d, m


def _k_headers(blocks: NDArray) -> list[NDArray]:
    return [_rows(blocks["d"]), _rows(blocks["dmin"])]


def _k_nibbles(qs: U8) -> U8:
    """(…, 128): 64 columns in each 32 bytes, low nibbles first -> (…, 8 blocks, 16) nibble bytes."""
    chunks = qs.reshape(*qs.shape[:-1], 4, 2, 16)
    first, second = chunks[..., 0, :], chunks[..., 1, :]
    low = _nibbles_of(first & np.uint8(15), second & np.uint8(15))
    high = (first >> 4) | (second & 0xF0)
    return np.stack([low, high], axis=-2).reshape(*qs.shape[:-1], 8, 16)


def _q4_k(blocks: NDArray) -> Parts:
    d, m = _k_scales(blocks["scales"])
    return [_vectors(_k_nibbles(blocks["qs"]))], [_rows(d), _rows(m)], _k_headers(blocks)


def _q5_k(blocks: NDArray) -> Parts:
    quants, scales, headers = _q4_k(blocks)
    planes = (
        blocks["qh"][..., None, :] >> np.arange(8, dtype=np.uint8)[:, None] & 1
    )  # (…, 8 blocks, 32 columns)
    fifth = np.packbits(planes, axis=-1, bitorder="little")
    return [*quants, _vectors(_fifth_bits(fifth))], scales, headers


def _q6_k(blocks: NDArray) -> Parts:
    ql = blocks["ql"].reshape(*blocks.shape, 2, 2, 32)  # half of 128, then 32 bytes each
    qh = blocks["qh"].reshape(*blocks.shape, 2, 1, 32)
    nibbles = np.concatenate([ql & 15, ql >> 4], axis=-2).reshape(*blocks.shape, 8, 32)
    uppers = (qh >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3).reshape(*blocks.shape, 8, 2, 4, 4)
    shifted = uppers << np.array([4, 6, 0, 2], np.uint8)[:, None]
    upper = np.bitwise_or.reduce(shifted, axis=-2)  # (…, 8 blocks, 2 halves, 4 columns)
    low = _nibbles_of(nibbles[..., :16], nibbles[..., 16:])
    scales = blocks["scales"].reshape(*blocks.shape, 8, 2)
    quants = [_vectors(low), _vectors(upper.reshape(*blocks.shape, 8, 8))]
    return quants, [_rows(scales[..., 0]), _rows(scales[..., 1])], [_rows(blocks["d"])]


PACKERS: dict[BlockFormat, tuple[Layout, Callable[[NDArray], Parts]]] = {
    formats.Q4_0: (NIBBLE, _q4_0),
    formats.Q4_1: (NIBBLE_MIN, _q4_1),
    formats.Q5_0: (FIVE, _q5_0),
    formats.Q5_1: (FIVE_MIN, _q5_1),
    formats.Q8_0: (BYTE, _q8_0),
    formats.Q4_K: (SUPER_NIBBLE, _q4_k),
    formats.Q5_K: (SUPER_FIVE, _q5_k),
    formats.Q6_K: (SUPER_SIX, _q6_k),
}


def _as_bytes(part: NDArray, lead: int) -> U8:
    """A part as (…first `lead` axes…, bytes)."""
    part = np.ascontiguousarray(part)
    return part.reshape(*part.shape[:lead], -1).view(np.uint8)


ROWS_AT_ONCE = 1024  # bounds the temporary copies


def pack(format: BlockFormat, data: U8, shape: tuple[int, int]) -> tuple[Layout, U8]:
    """The bytes of a (n_out, n_in) matrix in a block format -> its layout and (n_tiles, tile_bytes) packed
    bytes.

    Raises ValueError if `format` has no compute layout or the sizes do not belong together.
    """
    if format not in PACKERS or format.dtype is None:
        raise ValueError(f"{format.name} has no compute layout")
    layout, packer = PACKERS[format]
    n_out, n_in = shape
    if data.size != format.nbytes(n_out * n_in) or n_in % format.block_size:
        raise ValueError(f"{data.size} bytes are not a {n_out} x {n_in} matrix of {format.name}")
    blocks = data.view(format.dtype).reshape(n_out, -1)
    n_tiles = -(-n_out // TILE_ROWS)
    packed = np.empty((n_tiles, layout.tile_bytes(n_in)), np.uint8)
    for row in range(0, n_out, ROWS_AT_ONCE):
        some = blocks[row : row + ROWS_AT_ONCE]
        if len(some) % TILE_ROWS:
            some = np.concatenate([some, np.zeros((-len(some) % TILE_ROWS, some.shape[1]), some.dtype)])
        tile = row // TILE_ROWS
        _place(layout, packer(some), packed[tile : tile + len(some) // TILE_ROWS])
    return layout, packed


def _place(layout: Layout, parts: Parts, packed: U8) -> None:
    """Lay the parts of some tiles out in `packed` (n_tiles, tile_bytes)."""
    quants, scales, headers = parts
    spans = packed.reshape(len(packed), -1, layout.span_bytes)
    at = 0
    for header in headers:
        spans[..., at : at + 2 * TILE_ROWS] = _as_bytes(header, 2)
        at += 2 * TILE_ROWS
    blocks = spans[..., at:].reshape(*spans.shape[:2], layout.blocks_per_span, layout.block_bytes)
    at = 0
    for piece in (*quants, *scales):
        flat = _as_bytes(piece, 3 if layout.is_super else 2).reshape(*blocks.shape[:3], -1)
        blocks[..., at : at + flat.shape[-1]] = flat
        at += flat.shape[-1]
