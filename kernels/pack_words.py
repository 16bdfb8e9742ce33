"""Words of 4 bytes, from rows in the file to lanes of packed vectors: what the compiled packing does."""

from __future__ import annotations

from .pointer import I32, U16, Pointer, cast
from .source import called, inlined

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


@inlined
def q3_scale(scales: Pointer, i: int) -> int:
    """Six-bit scale i (0 … 15) of the 12 bytes of Q3_K."""
    four_bits = scales[i % 8] >> (i // 8 * 4) & 15
    return (scales[8 + i % 4] >> (i // 4 * 2) & 3) << 4 | four_bits


@inlined
def two_bits_of(source: Pointer, first: int, shift: int) -> int:
    """Two bits at `shift` of the bytes of words `first` … `first + 3`, the first of them lowest."""
    joined = word(source, first) >> shift & TWO_BITS
    joined |= (word(source, first + 1) >> shift & TWO_BITS) << 2
    joined |= (word(source, first + 2) >> shift & TWO_BITS) << 4
    return joined | (word(source, first + 3) >> shift & TWO_BITS) << 6
