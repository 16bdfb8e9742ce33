"""The keys and values that a layer keeps for attention: their layout, and the kernel that writes them.

A cache has `n_slots` slots, a multiple of B = `CACHE_BLOCK`. Position p is in slot p % n_slots, so the cache
of a sliding window is a ring: it needs as many slots as the window and the longest step have positions
together. With L = `CACHE_LANES`

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
from ..language.pointer import F16, F32, I64
from ..language.record import Field, PointerTo, Record
from ..language.rows import check_n_tokens, check_rows, share
from ..language.simd import load, store, to_f16

CACHE_LANES = 16
CACHE_BLOCK = 64


def n_slots_for(n_positions: int) -> int:
    """The slots of a cache that must hold `n_positions` positions at once."""
    return -(-n_positions // CACHE_BLOCK) * CACHE_BLOCK


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
    "positions": PointerTo(I64),
    "n_tokens": PointerTo(I64),
    "n_kv_heads": I64,
    "head_dim": I64,
    "padded": I64,
    "n_slots": I64,
}
"""The arguments of a kernel that works on a cache, at the positions of a step's tokens."""


def cache_arguments(
    keys: Halves, values: Halves, positions: NDArray[np.int64], n_tokens: Count
) -> dict[str, Any]:
    """The arguments `CACHE`; TypeError or ValueError for arrays that do not fit."""
    n_kv_heads, head_dim, n_slots = check_kv_cache(keys, values)
    check_n_tokens(n_tokens)
    check_array("positions", positions, (None,), np.int64)
    return {
        "keys": keys,
        "values": values,
        "positions": positions,
        "n_tokens": n_tokens,
        "n_kv_heads": n_kv_heads,
        "head_dim": head_dim,
        "padded": padded_head(head_dim),
        "n_slots": n_slots,
    }


def bind_cache_write(
    k: Array,
    v: Array,
    keys: Halves,
    values: Halves,
    positions: NDArray[np.int64],
    n_tokens: Count,
) -> Call:
    """Write the rows of k and v, rounded to float16, at their positions.

    k and v are buffers of width n_kv_heads * head_dim; positions is (n_max_tokens,), of which
    each step fills as many as it has tokens, all different and at most n_slots - 1 apart. Raises TypeError or
    ValueError for arrays that do not fit.
    """
    cache = cache_arguments(keys, values, positions, n_tokens)
    n_max_tokens, ld = check_rows(n_tokens, cache["n_kv_heads"] * cache["head_dim"], k=k, v=v)
    check_array("positions", positions, (n_max_tokens,), np.int64)
    return _cache_write.bind(**cache, k=k, v=v, ld=ld)


@kernel(Record(**CACHE, k=PointerTo(F32), v=PointerTo(F32), ld=I64))
def _cache_write(args, thread_id, n_threads):
    d, whole = args.head_dim, args.head_dim - args.head_dim % 8
    first, last = share(args.n_tokens[0] * args.n_kv_heads, thread_id, n_threads)
    for i in range(first, last):
        token, head = i // args.n_kv_heads, i % args.n_kv_heads
        slot = args.positions[token] % args.n_slots + head * args.n_slots
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
