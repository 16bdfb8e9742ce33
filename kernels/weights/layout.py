"""Compute layouts: the few ways in which packed weights lie in memory.

A *level* is the small integer that the file has for a weight. A *block* is 32 columns (k) of the matrix. A
*sub-block* is those of them that share a scale, 32 or 16. A *super-block* is 256 columns, or 64, whose blocks
share one more scale. A *tile* is 16 rows (r). Tiles are contiguous, and so are the super-blocks of a tile, or
its blocks if there are no super-blocks: a kernel reads memory from first to last.

    super-block   16 float16 scales [, 16 float16 minimum scales], one for each row; then its blocks
    block         the levels in one of the forms below, then the scales (`Scale`)

Levels come in lines of 64 bytes, one vector of AVX-512 or two of other machines, that serve 16 rows x 4
columns: byte 4 r + c of a line is about row r and columns k with k % 4 == c.

    levels                      lines          bits of a byte, and their column
    4 bits, lower 4 of 5 and 6  j = 0..3       3..0: k = 4 j + c        7..4: k = 16 + 4 j + c
    the fifth bit of 5          one more       s = 0..7: k = 4 s + c
    the upper two of 6          h = 0, 1 more  5..4, 7..6, 1..0, 3..2: k = 16 h + 4 j + c of j = 0, 1, 2, 3
    2 bits, lower 2 of 3        h = 0, 1       2 j + 1..2 j: k = 16 h + 4 j + c
    the third bit of 3          one more       s = 0..7: k = 4 s + c
    8 bits                      s = 0..7       int8: k = 4 s + c

A weight is scale * (level - offset); with minima it is scale * level + minimum, in super-blocks scale * level
- minimum. With a `table` its entries are the levels, and what is stored are indices into it. The last tile is
padded with packed blocks of zero bytes, which mean zero in every format.

Each lane has a row: a product adds up columns within a lane, so that a row's sum is never split, no lanes
have to be added up, and levels in registers serve several tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...gguf_io.codecs.codebooks import IQ1, IQ2_XXS, IQ3_S, IQ3_XXS
from ...gguf_io.codecs.i_quants import IQ4_VALUES
from ...gguf_io.codecs.simple_quants import FLOAT4
from ..language.unpack import Table

TILE_ROWS = 16
BLOCK = 32


class Scale(Enum):
    """What a block holds of each row, for each of its sub-blocks."""

    HALF = "16 float16 [and 16 float16 minima]"
    POWER = "16 uint8, powers of two as in MXFP4"
    E4M3 = "16 uint8, floats as in NVFP4"
    BYTE = "16 int8 [then 16 + 16 uint8 with the minima] that multiply the super-block's"
    NIBBLES = "16 uint8, low nibbles that multiply the super-block's scale, high ones its minimum scale"
    NONE = "nothing: the super-block's scale is that of its blocks"


@dataclass(frozen=True)
class Layout:
    """One compute layout.

    `sub_block`: how many columns share a scale (32 or 16); `unit`: a power of two that scales are multiplied
    by; `table`: entries from 0 on.
    """

    name: str
    bits: int
    offset: int
    scale: Scale = Scale.HALF
    has_min: bool = False
    sub_block: int = BLOCK
    super_blocks: int = 8
    unit: float = 1.0
    table: Table | None = None

    @property
    def is_super(self) -> bool:
        """Whether there are super-blocks."""
        return self.scale in (Scale.BYTE, Scale.NIBBLES, Scale.NONE)

    @property
    def is_signed(self) -> bool:
        """Whether levels are int8, without an offset; else they are uint8."""
        return self.bits == 8 or (self.table is not None and min(self.table.values) < 0)

    @property
    def sum_factor(self) -> int:
        """The factor of the sums of activations: a product starts at -offset * sum, to subtract the
        offset."""
        return -self.offset or 1

    @property
    def max_level(self) -> int:
        """The largest level, before the offset is subtracted."""
        return max(self.table.values) if self.table else (1 << self.bits) - 1

    @property
    def quant_bytes(self) -> int:
        """Bytes of one block's levels, for 16 rows."""
        return TILE_ROWS * BLOCK * self.bits // 8

    @property
    def scale_bytes(self) -> int:
        """Bytes of one block's scales [and minima], for 16 rows."""
        if self.scale is Scale.NONE:
            return 0
        one = TILE_ROWS * (BLOCK // self.sub_block) * (2 if self.scale is Scale.HALF else 1)
        return 2 * one if self.has_min and self.scale is not Scale.NIBBLES else one

    @property
    def block_bytes(self) -> int:
        """Bytes of one block of 32 columns, for 16 rows."""
        return self.quant_bytes + self.scale_bytes

    @property
    def header_bytes(self) -> int:
        """Bytes at the start of a super-block, for 16 rows."""
        return TILE_ROWS * 2 * (2 if self.has_min else 1) if self.is_super else 0

    @property
    def blocks_per_span(self) -> int:
        """Blocks between two headers."""
        return self.super_blocks if self.is_super else 1

    @property
    def span_bytes(self) -> int:
        """Bytes of a header and its blocks, for 16 rows."""
        return self.header_bytes + self.blocks_per_span * self.block_bytes

    def tile_bytes(self, n_in: int) -> int:
        """Bytes of one tile of 16 rows x `n_in` columns."""
        return n_in // (BLOCK * self.blocks_per_span) * self.span_bytes


MAX_UNSIGNED = 129
"""Up to here a pair of products of levels and activations fits into int16 (`dot_unsigned`)."""


def coded(name: str, bits: int, values: Iterable[int], scale: Scale, **rest: Any) -> Layout:
    """A layout whose levels stand for `values`: unsigned with an offset where their range allows it."""
    numbers = tuple(int(value) for value in values)
    low, high = min(numbers), max(numbers)
    offset = -low if high - low <= MAX_UNSIGNED else 0
    return Layout(name, bits, offset, scale, table=Table(tuple(n + offset for n in numbers)), **rest)


def both_signs(digits: Iterable[int]) -> tuple[int, ...]:
    """The numbers, then their negatives."""
    positive = tuple(digits)
    return (*positive, *(-digit for digit in positive))


NIBBLE = Layout("nibble", bits=4, offset=8)
NIBBLE_MIN = Layout("nibble_min", bits=4, offset=0, has_min=True)
FIVE = Layout("five", bits=5, offset=16)
FIVE_MIN = Layout("five_min", bits=5, offset=0, has_min=True)
BYTE = Layout("byte", bits=8, offset=0)
SUPER_NIBBLE = Layout("super_nibble", bits=4, offset=0, scale=Scale.BYTE, has_min=True)
SUPER_FIVE = Layout("super_five", bits=5, offset=0, scale=Scale.BYTE, has_min=True)
SUPER_SIX = Layout("super_six", bits=6, offset=32, scale=Scale.BYTE, sub_block=16)

TWO = Layout("two", bits=2, offset=1, scale=Scale.NONE, super_blocks=2)
SUPER_TWO = Layout("super_two", bits=2, offset=0, scale=Scale.NIBBLES, has_min=True, sub_block=16)
SUPER_THREE = Layout("super_three", bits=3, offset=4, scale=Scale.BYTE, sub_block=16)

_IQ1 = [8 * digit + delta for digit in IQ1.digits for delta in (-1, 1)]
_IQ2 = both_signs(IQ2_XXS.digits)
IQ1_BY_32 = coded("iq1_by_32", 3, _IQ1, Scale.BYTE, unit=1 / 8)
IQ1_BY_16 = coded("iq1_by_16", 3, _IQ1, Scale.BYTE, unit=1 / 8, sub_block=16)
IQ2_BY_32 = coded("iq2_by_32", 3, _IQ2, Scale.BYTE, unit=1 / 8)
IQ2_BY_16 = coded("iq2_by_16", 3, _IQ2, Scale.BYTE, unit=1 / 8, sub_block=16)
IQ3_EVEN = coded("iq3_even", 4, both_signs(IQ3_XXS.digits), Scale.BYTE, unit=1 / 4)
IQ3_ODD = coded("iq3_odd", 4, both_signs(IQ3_S.digits), Scale.BYTE)
IQ4 = coded("iq4", 4, IQ4_VALUES, Scale.HALF)
SUPER_IQ4 = coded("super_iq4", 4, IQ4_VALUES, Scale.BYTE)
FLOAT4_BY_32 = coded("float4_by_32", 4, FLOAT4, Scale.POWER)
FLOAT4_BY_16 = coded("float4_by_16", 4, FLOAT4, Scale.E4M3, unit=1 / 2, sub_block=16)
