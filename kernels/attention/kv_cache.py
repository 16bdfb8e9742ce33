"""The keys and values that a layer keeps for attention: their layout, and the kernel that writes them.

A cache has `n_slots` slots, a multiple of B = `CACHE_BLOCK`; B of them are a page. A sequence has its
positions in pages anywhere in the cache, B to a page: `pages[seat, p // B]` is the one of position p. With
L = `CACHE_LANES`

    keys    (n_kv_heads, n_slots / L, head_dim, L) float16 or float32
    values  (n_kv_heads, n_slots / B, ceil(head_dim / L), B, L)

    keys[h, s // L, i, s % L] and values[h, s // B, i // L, s % B, i % L] are value i of slot s

A vector load from `keys` gives one value of L neighbouring positions, so that scores come out side by side in
the lanes, without horizontal sums; one from `values` gives L values of one position. A block of B positions
is contiguous in both, and attention reads each from its first to its last byte.

Quantized, a slot has `n_blocks` blocks of `block_bytes` (`cache_type.py`); of the keys, those of L slots are
interleaved, scale by scale and byte by byte:

    keys    (n_kv_heads, n_slots / L, n_blocks, block_bytes, L) uint8; 2 L bytes are scales
    values  (n_kv_heads, n_slots, n_blocks, block_bytes) uint8
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64, Pointer
from ..language.record import Field, PointerTo, Record
from ..language.rows import check_rows, share
from ..language.simd import load, store
from ..language.source import inlined
from ..language.spans import check_spans
from .cache_blocks import SCALE_BYTES, block_functions, decode_reference
from .cache_rows import rounding, row_functions
from .cache_type import CACHE_F16, QUANT_BLOCK, CacheArray, CacheType

Numbers = NDArray[np.int64]

CACHE_LANES = 16
CACHE_BLOCK = 64


def n_pages_for(n_positions: int) -> int:
    """The pages that n_positions positions fill, from the start of one on."""
    return -(-n_positions // CACHE_BLOCK)


def page_table(n_positions: int, n_seats: int = 1) -> NDArray[np.int64]:
    """A table (n_seats, n_pages) of sequences of n_positions, whose pages lie one after the other."""
    n_pages = n_pages_for(n_positions)
    return np.arange(n_seats * n_pages).reshape(n_seats, n_pages)


@inlined
def slot_of(pages: Pointer, position: int) -> int:
    """The slot of a position, from the sequence's row of the page table."""
    return pages[position // CACHE_BLOCK] * CACHE_BLOCK + position % CACHE_BLOCK


def padded_head(head_dim: int) -> int:
    """head_dim rounded up to whole vectors."""
    return -(-head_dim // CACHE_LANES) * CACHE_LANES


def allocate_kv_cache(
    n_kv_heads: int, head_dim: int, n_slots: int, kind: CacheType = CACHE_F16
) -> tuple[CacheArray, CacheArray]:
    """keys and values, zeroed (the system gives their pages when they are first written)."""
    if n_kv_heads < 1 or head_dim < 1 or n_slots < CACHE_BLOCK or n_slots % CACHE_BLOCK:
        raise ValueError(
            f"a cache needs at least one head, a head_dim and a number of slots that {CACHE_BLOCK} divides,"
            f" not {n_kv_heads}, {head_dim}, {n_slots}"
        )
    keys, values = (
        np.zeros((n_kv_heads, *shape), kind.element.dtype) for shape in _shapes(kind, head_dim, n_slots)
    )
    return CacheArray(keys, kind, head_dim), CacheArray(values, kind, head_dim)


def _shapes(kind: CacheType, head_dim: int, n_slots: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the keys and values of a head."""
    n_groups = n_slots // CACHE_LANES
    if kind.block_bytes:
        blocks = kind.row(head_dim) // kind.block_bytes, kind.block_bytes
        return (n_groups, *blocks, CACHE_LANES), (n_slots, *blocks)
    n_vectors = padded_head(head_dim) // CACHE_LANES
    return (n_groups, head_dim, CACHE_LANES), (n_slots // CACHE_BLOCK, n_vectors, CACHE_BLOCK, CACHE_LANES)


def check_kv_cache(keys: CacheArray, values: CacheArray) -> tuple[int, int, int]:
    """(n_kv_heads, head_dim, n_slots) of a cache; TypeError or ValueError if its arrays do not fit."""
    kind, head_dim = keys.kind, keys.width
    if (values.kind, values.width) != (kind, head_dim):
        raise ValueError(f"keys are {head_dim} {kind.name}, values {values.width} {values.kind.name}")
    n_kv_heads, n_slots = keys.array.shape[0], keys.array.shape[1] * CACHE_LANES
    for name, part, shape in zip(
        ("keys", "values"), (keys, values), _shapes(kind, head_dim, n_slots), strict=True
    ):
        check_array(name, part.array, (n_kv_heads, *shape), kind.element.dtype)
    if n_kv_heads == 0 or n_slots == 0 or n_slots % CACHE_BLOCK or head_dim == 0:
        raise ValueError(f"{keys.array.shape} is not a shape of keys that allocate_kv_cache gives")
    return n_kv_heads, head_dim, n_slots


def read_kv_cache(keys: CacheArray, values: CacheArray, pages: Numbers) -> tuple[Array, Array]:
    """What some pages hold, one after the other: keys and values (n_kv_heads, n, head_dim) float32."""
    kind, (n_heads, head_dim, _) = keys.kind, check_kv_cache(keys, values)
    per_page = CACHE_BLOCK // CACHE_LANES
    k = keys.array.reshape(n_heads, -1, per_page, *keys.array.shape[2:])[:, pages]
    if not kind.block_bytes:
        v = values.array[:, pages].transpose(0, 1, 3, 2, 4).reshape(n_heads, len(pages) * CACHE_BLOCK, -1)
        k = k.swapaxes(3, 4).reshape(n_heads, -1, head_dim)
        return np.ascontiguousarray(k, np.float32), np.ascontiguousarray(v[..., :head_dim], np.float32)
    scales = k[..., :SCALE_BYTES, :].reshape(*k.shape[:4], CACHE_LANES, SCALE_BYTES)
    blocks = np.concatenate([scales, k[..., SCALE_BYTES:, :].swapaxes(4, 5)], axis=5).swapaxes(3, 4)
    v = values.array.reshape(n_heads, -1, CACHE_BLOCK, *values.array.shape[2:])[:, pages]
    by_slot = n_heads, len(pages) * CACHE_BLOCK, *values.array.shape[2:]
    rows = (decode_reference(part.reshape(by_slot), head_dim, kind) for part in (blocks, v))
    found_keys, found_values = rows
    return found_keys, found_values


def cache_fields(kind: CacheType) -> dict[str, Field]:
    """The arguments of a kernel that works on a cache."""
    return {
        "keys": PointerTo(kind.element),
        "values": PointerTo(kind.element),
        "n_kv_heads": I64,
        "head_dim": I64,
        "padded": I64,  # head_dim in whole vectors
        "n_slots": I64,
    }


PLACES: dict[str, Field] = {
    "pages": PointerTo(I64),  # (n_seats, ld_pages)
    "positions": PointerTo(I64),  # of the step's tokens
    "spans": PointerTo(I64),
    "ld_pages": I64,
}
"""The arguments of a kernel that reads positions of several sequences."""


def place_arguments(pages: Numbers, positions: Numbers, spans: Count) -> dict[str, Any]:
    """The arguments `PLACES`; TypeError or ValueError for arrays that do not fit."""
    check_spans(spans)
    check_array("pages", pages, (None, None), np.int64)
    check_array("positions", positions, (None,), np.int64)
    return {"pages": pages, "positions": positions, "spans": spans, "ld_pages": pages.shape[1]}


def cache_arguments(keys: CacheArray, values: CacheArray) -> dict[str, Any]:
    """The arguments `cache_fields`; TypeError or ValueError for arrays that do not fit."""
    n_kv_heads, head_dim, n_slots = check_kv_cache(keys, values)
    return {
        "keys": keys.array,
        "values": values.array,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
        "padded": padded_head(head_dim),
        "n_slots": n_slots,
    }


@cache
def slot_functions(kind: CacheType) -> tuple[Callable[[Any], int], Callable[[Any], int]]:
    """Make functions for kernels over a record of `cache_fields`: how many elements the key, and the value,
    of a slot takes."""
    block_bytes = kind.block_bytes

    @inlined
    def blocks_row(args: Any) -> int:
        return (args.head_dim + QUANT_BLOCK - 1) // QUANT_BLOCK * block_bytes

    @inlined
    def key_row(args: Any) -> int:
        return args.head_dim

    @inlined
    def value_row(args: Any) -> int:
        return args.padded

    return (blocks_row, blocks_row) if block_bytes else (key_row, value_row)


def bind_cache_write(
    k: Array, v: Array, keys: CacheArray, values: CacheArray, slots: Numbers, n_tokens: Count
) -> Call:
    """Write the rows of k and v, rounded as the cache does, into their slots.

    k and v are buffers of width n_kv_heads * head_dim; slots is (n_max_tokens,), of which each step fills as
    many as it has tokens, all different. Raises TypeError or ValueError for arrays that do not fit.
    """
    cache = cache_arguments(keys, values)
    n_max_tokens, ld = check_rows(n_tokens, cache["n_kv_heads"] * cache["head_dim"], k=k, v=v)
    check_array("slots", slots, (n_max_tokens,), np.int64)
    return write_kernel(keys.kind).bind(**cache, k=k, v=v, slots=slots, n_tokens=n_tokens, ld=ld)


@cache
def write_kernel(kind: CacheType) -> Kernel:
    """The kernel that writes a slot of each head."""
    write_slot = _block_slot_function(kind) if kind.block_bytes else _float_slot_function(kind)
    tokens = {"slots": PointerTo(I64), "n_tokens": PointerTo(I64)}

    @kernel(
        Record(**cache_fields(kind), **tokens, k=PointerTo(F32), v=PointerTo(F32), ld=I64),
        f"cache_write_{kind.name}",
    )
    def cache_write(args, thread_id, n_threads):
        first, last = share(args.n_tokens[0] * args.n_kv_heads, thread_id, n_threads)
        for i in range(first, last):
            token, head = i // args.n_kv_heads, i % args.n_kv_heads
            slot = args.slots[token] + head * args.n_slots
            offset = token * args.ld + head * args.head_dim
            write_slot(args, slot, args.k + offset, args.v + offset)

    return cache_write


def _float_slot_function(kind: CacheType) -> Callable[..., None]:
    rounded = rounding(kind)

    @inlined
    def write_floats(args, slot, k, v):
        d, whole = args.head_dim, args.head_dim - args.head_dim % 8
        key = args.keys + slot // CACHE_LANES * CACHE_LANES * d + slot % CACHE_LANES
        for j in range(d):
            store(key + j * CACHE_LANES, rounded(load(k + j, 1)))
        value = (
            args.values + slot // CACHE_BLOCK * CACHE_BLOCK * args.padded + slot % CACHE_BLOCK * CACHE_LANES
        )
        for j in range(0, whole, 8):
            vector = value + j // CACHE_LANES * CACHE_BLOCK * CACHE_LANES + j % CACHE_LANES
            store(vector, rounded(load(v + j, 8)))
        for j in range(whole, d):
            place = value + j // CACHE_LANES * CACHE_BLOCK * CACHE_LANES + j % CACHE_LANES
            store(place, rounded(load(v + j, 1)))

    return write_floats


def _block_slot_function(kind: CacheType) -> Callable[..., None]:
    block_bytes, write, write_row = kind.block_bytes, block_functions(kind).write, row_functions(kind).write

    @inlined
    def write_blocks(args, slot, k, v):
        n_blocks = (args.head_dim + QUANT_BLOCK - 1) // QUANT_BLOCK
        group, lane = slot // CACHE_LANES, slot % CACHE_LANES
        for b in range(n_blocks):
            n = min(args.head_dim - b * QUANT_BLOCK, QUANT_BLOCK)
            key = args.keys + (group * n_blocks + b) * block_bytes * CACHE_LANES
            levels = key + (SCALE_BYTES * CACHE_LANES + lane)
            write(key + lane * SCALE_BYTES, levels, CACHE_LANES, k + b * QUANT_BLOCK, n)
        write_row(args.values + slot * n_blocks * block_bytes, v, args.head_dim)

    return write_blocks
