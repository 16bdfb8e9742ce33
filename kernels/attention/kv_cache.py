"""The keys and values that a layer keeps for attention: their layout, and the kernel that writes them.

A cache has `n_slots` slots, a multiple of B = `CACHE_BLOCK`; B of them are a page. A sequence has its
positions in pages anywhere in the cache, B to a page: `pages[seat, p // B]` is the one of position p. With
L = `CACHE_LANES`

    keys    (n_kv_heads, n_slots / L, head_dim, L) float16
    values  (n_kv_heads, n_slots / B, ceil(head_dim / L), B, L) float16

    keys[h, s // L, i, s % L] and values[h, s // B, i // L, s % B, i % L] are value i of slot s

A vector load from `keys` gives one value of L neighbouring positions, so that scores come out side by side in
the lanes, without horizontal sums; one from `values` gives L values of one position. A block of B positions
is contiguous in both, and attention reads each from its first to its last byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, Halves, check_array
from ..language.pointer import F16, F32, I64, Pointer
from ..language.record import Field, PointerTo, Record
from ..language.rows import check_rows, share
from ..language.simd import load, store, to_f16
from ..language.source import inlined
from ..language.spans import check_spans

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


def allocate_kv_cache(n_kv_heads: int, head_dim: int, n_slots: int) -> tuple[Halves, Halves]:
    """keys and values, zeroed (the system gives their pages when they are first written)."""
    if n_kv_heads < 1 or head_dim < 1 or n_slots < CACHE_BLOCK or n_slots % CACHE_BLOCK:
        raise ValueError(
            f"a cache needs at least one head, a head_dim and a number of slots that {CACHE_BLOCK} divides,"
            f" not {n_kv_heads}, {head_dim}, {n_slots}"
        )
    keys = np.zeros((n_kv_heads, n_slots // CACHE_LANES, head_dim, CACHE_LANES), np.float16)
    return keys, np.zeros(_values_shape(n_kv_heads, head_dim, n_slots), np.float16)


def _values_shape(n_kv_heads: int, head_dim: int, n_slots: int) -> tuple[int, ...]:
    return n_kv_heads, n_slots // CACHE_BLOCK, padded_head(head_dim) // CACHE_LANES, CACHE_BLOCK, CACHE_LANES


def check_kv_cache(keys: Halves, values: Halves) -> tuple[int, int, int]:
    """(n_kv_heads, head_dim, n_slots) of a cache; TypeError or ValueError if its arrays do not fit."""
    check_array("keys", keys, (None, None, None, CACHE_LANES), np.float16)
    n_kv_heads, n_groups, head_dim, _ = keys.shape
    n_slots = n_groups * CACHE_LANES
    check_array("values", values, _values_shape(n_kv_heads, head_dim, n_slots), np.float16)
    if n_kv_heads == 0 or n_slots == 0 or n_slots % CACHE_BLOCK or head_dim == 0:
        raise ValueError(f"{keys.shape} is not a shape of keys that allocate_kv_cache gives")
    return n_kv_heads, head_dim, n_slots


CACHE: dict[str, Field] = {
    "keys": PointerTo(F16),
    "values": PointerTo(F16),
    "n_kv_heads": I64,
    "head_dim": I64,
    "padded": I64,  # head_dim in whole vectors
    "n_slots": I64,
}
"""The arguments of a kernel that works on a cache."""

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


def cache_arguments(keys: Halves, values: Halves) -> dict[str, Any]:
    """The arguments `CACHE`; TypeError or ValueError for arrays that do not fit."""
    n_kv_heads, head_dim, n_slots = check_kv_cache(keys, values)
    return {
        "keys": keys,
        "values": values,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
        "padded": padded_head(head_dim),
        "n_slots": n_slots,
    }


def bind_cache_write(
    k: Array, v: Array, keys: Halves, values: Halves, slots: Numbers, n_tokens: Count
) -> Call:
    """Write the rows of k and v, rounded to float16, into their slots.

    k and v are buffers of width n_kv_heads * head_dim; slots is (n_max_tokens,), of which each step fills as
    many as it has tokens, all different. Raises TypeError or ValueError for arrays that do not fit.
    """
    cache = cache_arguments(keys, values)
    n_max_tokens, ld = check_rows(n_tokens, cache["n_kv_heads"] * cache["head_dim"], k=k, v=v)
    check_array("slots", slots, (n_max_tokens,), np.int64)
    return _cache_write.bind(**cache, k=k, v=v, slots=slots, n_tokens=n_tokens, ld=ld)


_WRITTEN = {"slots": PointerTo(I64), "n_tokens": PointerTo(I64)}


@kernel(Record(**CACHE, **_WRITTEN, k=PointerTo(F32), v=PointerTo(F32), ld=I64))
def _cache_write(args, thread_id, n_threads):
    d, whole = args.head_dim, args.head_dim - args.head_dim % 8
    first, last = share(args.n_tokens[0] * args.n_kv_heads, thread_id, n_threads)
    for i in range(first, last):
        token, head = i // args.n_kv_heads, i % args.n_kv_heads
        slot = args.slots[token] + head * args.n_slots
        offset = token * args.ld + head * d
        key = args.keys + slot // CACHE_LANES * CACHE_LANES * d + slot % CACHE_LANES
        for j in range(d):
            store(key + j * CACHE_LANES, to_f16(load(args.k + offset + j, 1)))
        value = (
            args.values + slot // CACHE_BLOCK * CACHE_BLOCK * args.padded + slot % CACHE_BLOCK * CACHE_LANES
        )
        for j in range(0, whole, 8):
            vector = value + j // CACHE_LANES * CACHE_BLOCK * CACHE_LANES + j % CACHE_LANES
            store(vector, to_f16(load(args.v + offset + j, 8)))
        for j in range(whole, d):
            place = value + j // CACHE_LANES * CACHE_BLOCK * CACHE_LANES + j % CACHE_LANES
            store(place, to_f16(load(args.v + offset + j, 1)))
