"""Compute layouts: the few ways in which packed weights lie in memory.

Weights are packed in *tiles* of 16 rows. Inside a tile the columns (k) go in blocks of 32, and everything
that one block needs lies together, so that a kernel reads one stream. With `g` = 0, 1 (rows 0-7, 8-15 of the
tile) and one 32-byte vector = 8 rows x 4 consecutive k, a block holds

    low nibbles   [g][4][32]   byte j of a row group: low nibbles k = 4j … 4j+3, high ones k = 16+4j … 16+4j+3
    fifth bits    [g][32]      bit s of a byte belongs to step s (k = 4s …)   (5 bits only)
    upper bits    [g][2][32]   two bits for step j = 0 … 3 of a half: bits 4-5, 6-7, 0-1, 2-3   (6 bits only)
    bytes         [g][8][32]   int8, k = 4s … of step s   (8 bits: instead)
    scales        16 float16, one a row [and 16 float16 minima]                                       (plain)
                  1 or 2 x 16 int8 [and 1 x 16 uint8 minima] that multiply the super-block's   (super-blocks)

A super-block of 256 columns starts with 16 float16 scales [and 16 float16 minimum scales], then come its 8
blocks. The value of a weight is `scale * (level - offset)`; where there are minima `scale * level + minimum`
(plain) or `scale * level - minimum` (super-blocks). Rows beyond the matrix (the last tile) have scale zero.
DESIGN §3 gives the reasons: lanes own rows, so there is no horizontal sum, and one load of weights serves
several tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

TILE_ROWS = 16
BLOCK = 32


@dataclass(frozen=True)
class Layout:
    """One compute layout; `sub_block`: how many columns share a scale (32 or 16)."""

    name: str
    bits: int
    offset: int
    has_min: bool = False
    is_super: bool = False
    sub_block: int = BLOCK

    @property
    def quant_bytes(self) -> int:
        """Bytes of one block's levels, for 16 rows."""
        return TILE_ROWS * BLOCK * self.bits // 8

    @property
    def scale_bytes(self) -> int:
        """Bytes of one block's scales [and minima], for 16 rows."""
        one = TILE_ROWS * (BLOCK // self.sub_block if self.is_super else 2)
        return one * (2 if self.has_min else 1)

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
        return 8 if self.is_super else 1

    @property
    def span_bytes(self) -> int:
        """Bytes of a header and its blocks, for 16 rows."""
        return self.header_bytes + self.blocks_per_span * self.block_bytes

    def tile_bytes(self, n_in: int) -> int:
        """Bytes of one tile of 16 rows x `n_in` columns."""
        return n_in // (BLOCK * self.blocks_per_span) * self.span_bytes


NIBBLE = Layout("nibble", bits=4, offset=8)
NIBBLE_MIN = Layout("nibble_min", bits=4, offset=0, has_min=True)
FIVE = Layout("five", bits=5, offset=16)
FIVE_MIN = Layout("five_min", bits=5, offset=0, has_min=True)
BYTE = Layout("byte", bits=8, offset=0)
SUPER_NIBBLE = Layout("super_nibble", bits=4, offset=0, has_min=True, is_super=True)
SUPER_FIVE = Layout("super_five", bits=5, offset=0, has_min=True, is_super=True)
SUPER_SIX = Layout("super_six", bits=6, offset=32, is_super=True, sub_block=16)
