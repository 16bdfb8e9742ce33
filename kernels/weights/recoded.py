"""File blocks -> arrays of packed blocks, for the formats that are first decoded to integer levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.codecs.blocks import I8
from ...gguf_io.codecs.levels import Levels
from .block_arrays import U8, BlockArrays, planes, rows
from .layout import BLOCK, Layout, Scale


def recoder(layout: Layout, unpack: Callable[[NDArray], Levels]) -> Callable[[NDArray], BlockArrays]:
    """Make the function that packs what `unpack` returns into `layout`.

    It takes (n_rows, n_blocks) structured blocks, n_rows a multiple of 16. If a block is several spans of the
    layout, each span gets its scale.
    """

    def recode(blocks: NDArray) -> BlockArrays:
        d, sub_scales, levels = unpack(blocks.reshape(-1))
        spans = levels.shape[1] // (BLOCK * layout.blocks_per_span)
        d = np.repeat(d.reshape(blocks.shape), spans, axis=1)
        per_block = (*d.shape, layout.blocks_per_span) if layout.is_super else d.shape
        quants = planes(places(layout, levels).reshape(*per_block, BLOCK), layout.bits)
        if not layout.is_super:
            return quants, [rows(d)], []
        if layout.scale is Scale.NONE:
            return quants, [], [rows(d)]
        factors = sub_scales.reshape(*per_block, BLOCK // layout.sub_block)
        return quants, [rows(factors[..., i]) for i in range(factors.shape[-1])], [rows(d)]

    return recode


def places(layout: Layout, levels: I8) -> U8:
    """What is stored for each level: its distance from the lowest, or its index in the layout's table."""
    codes = (levels + np.int8(layout.offset)).view(np.uint8)
    if layout.table is None:
        return codes
    place = np.zeros(256, np.uint8)
    values = layout.table.padded[: len(layout.table.values)]
    place[values.view(np.uint8)] = np.arange(len(values))
    return place[codes]
