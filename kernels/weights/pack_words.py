"""Words of 4 bytes, from rows in the file to lanes of packed vectors, in compiled packing.

Eight rows are packed at once. Word j of each is one vector of 8 int32 lanes, a row in each lane: half of a
line of 64 bytes of a layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..language.pointer import I8, I32, U16, Pointer, cast
from ..language.simd import bytes_to_i32, evens, load, odds, part, store, to_i8, transpose
from ..language.source import inlined

NIBBLES = 0x0F0F0F0F
TWO_BITS = 0x03030303
ROWS = 8


def _words(n: int) -> Callable[..., Any]:
    """Make the function that reads n words of 8 rows: a bundle of n vectors."""
    n_bytes = 4 * n

    @inlined
    def words(source, stride):
        return transpose(bytes_to_i32(load(source, n_bytes, ROWS, stride)))

    return words


one_word, four_words, eight_words = _words(1), _words(4), _words(8)


@inlined
def put_words(vectors: Pointer, words: np.ndarray) -> None:
    """Write words to these rows' halves of as many lines of 64 bytes."""
    store(cast(vectors, I32), words, 2 * ROWS)


@inlined
def put_bytes(scales: Pointer, numbers: np.ndarray) -> None:
    """Write the low bytes of 8 words, side by side."""
    store(cast(scales, I8), to_i8(numbers))


@inlined
def copy_byte(source: Pointer, scales: Pointer, stride: int) -> None:
    """Copy a byte of each of 8 rows, side by side."""
    for row in range(ROWS):
        scales[row] = source[row * stride]


@inlined
def copy_half(source: Pointer, scales: Pointer, stride: int) -> None:
    """Copy a float16 of each of 8 rows, side by side."""
    for row in range(ROWS):
        cast(scales, U16)[row] = cast(source + row * stride, U16)[0]


@inlined
def copy_byte_pairs(source: Pointer, scales: Pointer, stride: int, block_bytes: int) -> None:
    """Bytes 2b and 2b + 1 of each of 8 rows, b = 0 … 7: to block b, the second 16 bytes after the first."""
    numbers = load(source, 16, ROWS, stride)
    store(scales, transpose(evens(numbers)), block_bytes)
    store(scales + 16, transpose(odds(numbers)), block_bytes)


@inlined
def _swap_bits(words: np.ndarray, distance: int, mask: int) -> np.ndarray:
    """Bits of `mask` change places with those so far above them."""
    differ = (words >> distance ^ words) & mask
    return words ^ differ ^ differ << distance


@inlined
def transpose_bits(words: np.ndarray) -> np.ndarray:
    """Bit k of 32 -> bit s of byte c, with k = 4s + c: an 8 x 4 matrix of bits transposed.

    A bit's number s2 s1 s0 c1 c0 becomes c1 c0 s2 s1 s0 by four exchanges of two digits.
    """
    words = _swap_bits(words, 14, 0x0000CCCC)
    words = _swap_bits(words, 7, 0x00AA00AA)
    words = _swap_bits(words, 2, 0x0C0C0C0C)
    return _swap_bits(words, 1, 0x22222222)


@inlined
def bit_of_bytes(words: np.ndarray, shift: int) -> np.ndarray:
    """Bit `shift` of 32 bytes in 8 words, transposed too: bit s of each byte comes from word s."""
    bits = words >> shift & 0x01010101
    bits = part(bits, 0, 4) | part(bits, 4, 4) << 4
    bits = part(bits, 0, 2) | part(bits, 2, 2) << 2
    return part(bits, 0, 1) | part(bits, 1, 1) << 1


@inlined
def join_nibbles(first: np.ndarray, second: np.ndarray, shift: int) -> np.ndarray:
    """Nibbles at `shift` of the bytes of words: the first in the low, the second in the high half of each
    byte."""
    return first >> shift & NIBBLES | (second >> shift & NIBBLES) << 4


@inlined
def join_two_bits(words: np.ndarray, shift: int) -> np.ndarray:
    """Two bits at `shift` of the bytes of four words, the first of them lowest."""
    bits = words >> shift & TWO_BITS
    bits = part(bits, 0, 2) | part(bits, 2, 2) << 4
    return part(bits, 0, 1) | part(bits, 1, 1) << 2


@inlined
def put_two_bits(vectors: Pointer, first: np.ndarray, second: np.ndarray, shift: int) -> None:
    """Write two bits at `shift` of the bytes of four words, and of the next four, to the next line."""
    put_words(vectors, join_two_bits(first, shift))
    put_words(vectors + 64, join_two_bits(second, shift))


@inlined
def join_upper_bits(words: np.ndarray, shift: int) -> np.ndarray:
    """Two bits at `shift` of the bytes of four words, at bits 4, 6, 0 and 2."""
    bits = words >> shift & TWO_BITS
    bits = part(bits, 0, 2) << 4 | part(bits, 2, 2)
    return part(bits, 0, 1) | part(bits, 1, 1) << 2
