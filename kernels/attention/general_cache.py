"""The keys and values that a layer keeps for general attention: their layout, and the kernel that writes
them.

A cache has `n_slots` slots, a multiple of CACHE_BLOCK, and sequences have pages of it as in `kv_cache.py`:

    keys    (n_kv_heads, n_slots, head_dim) float16 or float32
    values  (n_kv_heads, n_slots, value_dim)

and, quantized, a slot's blocks: (n_kv_heads, n_slots, n_blocks, block_bytes) uint8 (`cache_type.py`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import check_rows, share
from .cache_blocks import decode_reference
from .cache_rows import row_functions, row_size_function
from .cache_type import CACHE_F16, CacheArray, CacheType
from .kv_cache import CACHE_BLOCK, Numbers


def allocate_general_cache(
    n_kv_heads: int, head_dim: int, value_dim: int, n_slots: int, kind: CacheType = CACHE_F16
) -> tuple[CacheArray, CacheArray]:
    """keys and values, zeroed."""
    if min(n_kv_heads, head_dim, value_dim, n_slots) < 1 or n_slots % CACHE_BLOCK:
        raise ValueError(f"no cache has {n_kv_heads} heads of {head_dim} and {value_dim} in {n_slots} slots")
    keys, values = (
        CacheArray(np.zeros((n_kv_heads, n_slots, *_slot(kind, width)), kind.element.dtype), kind, width)
        for width in (head_dim, value_dim)
    )
    return keys, values


def _slot(kind: CacheType, width: int) -> tuple[int, ...]:
    """The shape of what a slot has for a head."""
    return (kind.row(width) // kind.block_bytes, kind.block_bytes) if kind.block_bytes else (width,)


def check_rows_of_slots(name: str, cached: CacheArray) -> tuple[int, int]:
    """(n_kv_heads, n_slots) of keys or values; TypeError or ValueError if the array does not fit."""
    slot = _slot(cached.kind, cached.width)
    check_array(name, cached.array, (None, None, *slot), cached.kind.element.dtype)
    n_kv_heads, n_slots = cached.array.shape[:2]
    return n_kv_heads, n_slots


def read_general_cache(cached: CacheArray, pages: Numbers) -> Array:
    """What some pages of keys or values hold, one after the other: (n_kv_heads, n, width) float32."""
    n_kv_heads, _ = check_rows_of_slots("cached", cached)
    slot = cached.array.shape[2:]
    rows = cached.array.reshape(n_kv_heads, -1, CACHE_BLOCK, *slot)[:, pages].reshape(n_kv_heads, -1, *slot)
    if cached.kind.block_bytes:
        return decode_reference(rows, cached.width, cached.kind)
    return np.ascontiguousarray(rows, np.float32)


def bind_general_write(rows: Array, cached: CacheArray, slots: Numbers, n_tokens: Count) -> Call:
    """Write the rows of k or v, a buffer, rounded as the cache does, into their slots.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    n_kv_heads, n_slots = check_rows_of_slots("cached", cached)
    n_max_tokens, ld = check_rows(n_tokens, n_kv_heads * cached.width, rows=rows)
    check_array("slots", slots, (n_max_tokens,), np.int64)
    return general_write_kernel(cached.kind).bind(
        rows=rows,
        cached=cached.array,
        slots=slots,
        n_tokens=n_tokens,
        ld=ld,
        n_kv_heads=n_kv_heads,
        n_slots=n_slots,
        width=cached.width,
    )


@cache
def general_write_kernel(kind: CacheType) -> Kernel:
    """The kernel that writes slots of a type."""
    write, row = row_functions(kind).write, row_size_function(kind)

    @kernel(
        Record(
            rows=PointerTo(F32),
            cached=PointerTo(kind.element),
            slots=PointerTo(I64),
            n_tokens=PointerTo(I64),
            ld=I64,
            n_kv_heads=I64,
            n_slots=I64,
            width=I64,
        ),
        f"general_write_{kind.name}",
    )
    def general_write(args, thread_id, n_threads):
        first, last = share(args.n_tokens[0] * args.n_kv_heads, thread_id, n_threads)
        for i in range(first, last):
            token, head = i // args.n_kv_heads, i % args.n_kv_heads
            x = args.rows + token * args.ld + head * args.width
            slot = args.cached + (head * args.n_slots + args.slots[token]) * row(args.width)
            write(slot, x, args.width)

    return general_write
