"""Conversion of a block of keys and values to float32, in the scratch of plain attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from ..language.pointer import F16, Pointer, cast
from ..language.simd import load, load_splat, part, store, to_f32
from ..language.source import called, inlined
from .cache_blocks import HALF, SCALE_BYTES, block_functions
from .cache_type import QUANT_BLOCK, CacheType
from .kv_cache import CACHE_BLOCK, CACHE_LANES, slot_functions


class WidenFunctions(NamedTuple):
    """Functions for kernels of plain attention, whose scratch is `tile`.

    `widen(args, tile, keys, values, first, last)`: the positions first .. last - 1 of a block, and of its
    keys more to whole vectors. `few_read(tile, keys, values)` -> keys and values of the block that steps of
    few queries read: the cache itself unless it is quantized.
    """

    widen: Callable[..., None]
    few_read: Callable[[Any, Pointer, Pointer], tuple[Pointer, Pointer]]


@cache
def widen_functions(kind: CacheType) -> WidenFunctions:
    """Make the functions for a type of cache."""
    return _of_blocks(kind) if kind.block_bytes else WidenFunctions(_widen_floats, _cache_itself)


@inlined
def _cache_itself(tile: Any, keys: Pointer, values: Pointer) -> tuple[Pointer, Pointer]:
    return keys, values


@inlined
def _what_was_widened(tile: Any, keys: Pointer, values: Pointer) -> tuple[Pointer, Pointer]:
    return tile.keys, tile.values


@called
def _widen_floats(args, tile, keys, values, first, last):
    d = args.head_dim
    for i in range((first & -CACHE_LANES) * d, ((last + CACHE_LANES - 1) & -CACHE_LANES) * d, CACHE_LANES):
        store(tile.keys + i, to_f32(load(keys + i, CACHE_LANES)))
    for vector in range(0, args.padded * CACHE_BLOCK, CACHE_LANES * CACHE_BLOCK):
        for i in range(vector + first * CACHE_LANES, vector + last * CACHE_LANES, CACHE_LANES):
            store(tile.values + i, to_f32(load(values + i, CACHE_LANES)))


def _of_blocks(kind: CacheType) -> WidenFunctions:
    block_bytes, pair, (row, _) = kind.block_bytes, block_functions(kind).pair, slot_functions(kind)

    @inlined
    def widen_keys(out: Pointer, block: Pointer, n: int) -> None:
        """The first n values of interleaved blocks of CACHE_LANES positions."""
        scale = to_f32(load(cast(block, F16), CACHE_LANES))
        levels = block + SCALE_BYTES * CACHE_LANES
        n_pairs = max(n - HALF, 0)
        for j in range(n_pairs):
            both = pair(levels + j * CACHE_LANES, HALF * CACHE_LANES) * scale
            store(out + j * CACHE_LANES, both, HALF * CACHE_LANES)
        for j in range(n_pairs, min(n, HALF)):
            both = pair(levels + j * CACHE_LANES, HALF * CACHE_LANES)
            store(out + j * CACHE_LANES, part(both, 0, 1) * scale)

    @called
    def widen_blocks(args, tile, keys, values, first, last):
        d, n_bytes = args.head_dim, row(args)
        for p in range(first & -CACHE_LANES, last, CACHE_LANES):
            for i in range(0, d, QUANT_BLOCK):
                block = keys + p * n_bytes + i // QUANT_BLOCK * block_bytes * CACHE_LANES
                widen_keys(tile.keys + (p * d + i * CACHE_LANES), block, min(d - i, QUANT_BLOCK))
        for i in range(0, args.padded, QUANT_BLOCK):
            has_second_half = args.padded - i > HALF
            for p in range(first, last):
                block = values + p * n_bytes + i // QUANT_BLOCK * block_bytes
                scale = to_f32(load_splat(cast(block, F16), CACHE_LANES))
                both = pair(block + SCALE_BYTES, HALF) * scale
                out = tile.values + (i * CACHE_BLOCK + p * CACHE_LANES)
                if has_second_half:
                    store(out, both, CACHE_LANES * CACHE_BLOCK)
                else:
                    store(out, part(both, 0, 1))

    return WidenFunctions(widen_blocks, _what_was_widened)
