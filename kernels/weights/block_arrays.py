"""The arrays of packed blocks: levels and scales in the order that kernels read, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .layout import TILE_ROWS

BlockArrays = tuple[list[NDArray], list[NDArray], list[NDArray]]
"""Levels as bytes, scales of blocks, headers of super-blocks; each list in the order of the layout."""

U8 = NDArray[np.uint8]


def vectors(levels: U8) -> U8:
    """(n_rows, …, 4 * n) bytes of rows -> (tiles, …, n, 64): 16 rows side by side, 4 columns each."""
    words = np.ascontiguousarray(levels).view(np.uint32)
    return np.moveaxis(words.reshape(-1, TILE_ROWS, *words.shape[1:]), 1, -1).copy().view(np.uint8)


def rows(scales: NDArray) -> NDArray:
    """(n_rows, …) scales -> (tiles, …, 16)."""
    tiles = scales.reshape(-1, TILE_ROWS, *scales.shape[1:])
    return np.moveaxis(tiles, 1, -1)


def fifth_bits(qh: U8) -> U8:
    """(…, 4) bytes, bit k of the 32 -> (…, 4) bytes, bit s of byte c = bit 4s + c: an 8 x 4 bit matrix
    transposed."""
    bits = np.unpackbits(qh, axis=-1, bitorder="little")
    transposed = bits.reshape(*qh.shape[:-1], 8, 4).swapaxes(-1, -2)
    return np.packbits(transposed, axis=-1, bitorder="little")[..., 0]


def nibbles_of(low: U8, high: U8) -> U8:
    """Levels of columns 0-15 and 16-31 -> nibble bytes."""
    return low | (high << np.uint8(4))


def planes(codes: U8, n_bits: int) -> list[U8]:
    """(…, 32) levels of 2, 3 or 4 bits -> the arrays of a block that hold them."""
    if n_bits == 4:
        return [vectors(nibbles_of(codes[..., :16], codes[..., 16:]))]
    lead = codes.shape[:-1]
    shift = np.array([0, 2, 4, 6], np.uint8)[:, np.newaxis]
    pairs = np.bitwise_or.reduce((codes & 3).reshape(*lead, 2, 4, 4) << shift, axis=-2)
    two_bits = vectors(pairs.reshape(*lead, 8))
    if n_bits == 2:
        return [two_bits]
    step = np.arange(8, dtype=np.uint8)[:, np.newaxis]
    third = np.bitwise_or.reduce((codes >> 2).reshape(*lead, 8, 4) << step, axis=-2)
    return [two_bits, vectors(third)]
