"""File blocks -> compute layouts: the layout of each block format, and the packing in NumPy.

This is the definition of the compiled packing, and packs the formats that have none. No weight changes its
value.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...gguf_io import formats
from ...gguf_io.codecs import i_quants, k_quants, ternary_quants
from ...gguf_io.codecs.levels import Levels
from ...gguf_io.formats import BlockFormat
from . import layout as layouts, rearranged
from .block_arrays import U8, BlockArrays
from .layout import TILE_ROWS, Layout
from .recoded import recoder

Packer = Callable[[NDArray], BlockArrays]


def _by_levels(layout: Layout, unpack: Callable[[NDArray], Levels]) -> tuple[Layout, Packer]:
    return layout, recoder(layout, unpack)


PACKERS: dict[BlockFormat, tuple[Layout, Packer]] = {
    formats.Q4_0: (layouts.NIBBLE, rearranged.q4_0),
    formats.Q4_1: (layouts.NIBBLE_MIN, rearranged.q4_1),
    formats.Q5_0: (layouts.FIVE, rearranged.q5_0),
    formats.Q5_1: (layouts.FIVE_MIN, rearranged.q5_1),
    formats.Q8_0: (layouts.BYTE, rearranged.q8_0),
    formats.Q2_K: (layouts.SUPER_TWO, rearranged.q2_k),
    formats.Q3_K: _by_levels(layouts.SUPER_THREE, k_quants.q3_k),
    formats.Q4_K: (layouts.SUPER_NIBBLE, rearranged.q4_k),
    formats.Q5_K: (layouts.SUPER_FIVE, rearranged.q5_k),
    formats.Q6_K: (layouts.SUPER_SIX, rearranged.q6_k),
    formats.MXFP4: (layouts.FLOAT4_BY_32, rearranged.mxfp4),
    formats.NVFP4: (layouts.FLOAT4_BY_16, rearranged.nvfp4),
    formats.IQ1_S: _by_levels(layouts.IQ1_BY_32, i_quants.iq1_s),
    formats.IQ1_M: _by_levels(layouts.IQ1_BY_16, i_quants.iq1_m),
    formats.IQ2_XXS: _by_levels(layouts.IQ2_BY_32, i_quants.iq2_xxs),
    formats.IQ2_XS: _by_levels(layouts.IQ2_BY_16, i_quants.iq2_xs),
    formats.IQ2_S: _by_levels(layouts.IQ2_BY_16, i_quants.iq2_s),
    formats.IQ3_XXS: _by_levels(layouts.IQ3_EVEN, i_quants.iq3_xxs),
    formats.IQ3_S: _by_levels(layouts.IQ3_ODD, i_quants.iq3_s),
    formats.IQ4_NL: _by_levels(layouts.IQ4, i_quants.iq4_nl),
    formats.IQ4_XS: _by_levels(layouts.SUPER_IQ4, i_quants.iq4_xs),
    formats.Q1_0: _by_levels(layouts.TWO, ternary_quants.q1_0),
    formats.Q2_0: _by_levels(layouts.TWO, ternary_quants.q2_0),
    formats.TQ1_0: _by_levels(layouts.TWO, ternary_quants.tq1_0),
    formats.TQ2_0: _by_levels(layouts.TWO, ternary_quants.tq2_0),
}


def _as_bytes(array: NDArray, lead: int) -> U8:
    """(…first `lead` axes…, bytes)."""
    array = np.ascontiguousarray(array)
    return array.reshape(*array.shape[:lead], -1).view(np.uint8)


TILES_AT_ONCE = 8  # bounds the temporary copies


def pack(format: BlockFormat, data: U8, shape: tuple[int, int]) -> tuple[Layout, U8]:
    """The bytes of a (n_out, n_in) matrix in a block format -> its layout and (n_tiles, tile_bytes) packed
    bytes.

    Raises ValueError if `format` has no compute layout or the sizes do not belong together.
    """
    if format not in PACKERS or format.dtype is None:
        raise ValueError(f"{format.name} has no compute layout")
    layout, _ = PACKERS[format]
    n_out, n_in = shape
    if data.size != format.nbytes(n_out * n_in) or n_in % format.block_size:
        raise ValueError(f"{data.size} bytes are not a {n_out} x {n_in} matrix of {format.name}")
    packed = np.empty((-(-n_out // TILE_ROWS), layout.tile_bytes(n_in)), np.uint8)
    for tile in range(0, len(packed), TILES_AT_ONCE):
        pack_tiles(format, data, shape, packed, tile)
    return layout, packed


def pack_tiles(format: BlockFormat, data: U8, shape: tuple[int, int], packed: U8, first: int) -> None:
    """Write tiles `first` to `first + TILES_AT_ONCE - 1`, or fewer at the end, of what `pack` returns."""
    layout, packer = PACKERS[format]
    tiles = packed[first : first + TILES_AT_ONCE]
    blocks: NDArray = data.view(np.dtype(format.dtype)).reshape(shape[0], -1)
    some = blocks[first * TILE_ROWS : (first + len(tiles)) * TILE_ROWS]
    missing = len(tiles) * TILE_ROWS - len(some)
    if missing:
        some = np.concatenate([some, np.zeros((missing, some.shape[1]), some.dtype)])
    _place(layout, packer(some), tiles)


def _place(layout: Layout, arrays: BlockArrays, packed: U8) -> None:
    """Lay the arrays of some tiles out in `packed` (n_tiles, tile_bytes)."""
    quants, scales, headers = arrays
    spans = packed.reshape(len(packed), -1, layout.span_bytes)
    at = 0
    for header in headers:
        spans[..., at : at + 2 * TILE_ROWS] = _as_bytes(header, 2)
        at += 2 * TILE_ROWS
    blocks = spans[..., at:].reshape(*spans.shape[:2], layout.blocks_per_span, layout.block_bytes)
    at = 0
    for array in (*quants, *scales):
        flat = _as_bytes(array, 3 if layout.is_super else 2).reshape(*blocks.shape[:3], -1)
        blocks[..., at : at + flat.shape[-1]] = flat
        at += flat.shape[-1]
