"""Prefetches the keys and values that attention of several sequences is about to read. It changes no results.

A short sequence has a few kilobytes of them in every layer, too few for the processor to predict what is read
next: attention then waits for memory line by line, for three quarters of its time. Here all lines are asked
for before any is read.
"""

from __future__ import annotations

from functools import cache

from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Count
from ..language.record import Record
from ..language.rows import is_turn
from ..language.simd import prefetch
from ..language.spans import span_at
from .cache_type import CacheArray, CacheType
from .kv_cache import (
    CACHE_BLOCK,
    CACHE_LANES,
    PLACES,
    Numbers,
    cache_arguments,
    cache_fields,
    place_arguments,
    slot_functions,
    slot_of,
)

N_POSITIONS = 256  # the last ones; the processor predicts the reading of a longer sequence
LINE = 64  # bytes of a cache line


def bind_cache_prefetch(
    keys: CacheArray, values: CacheArray, pages: Numbers, positions: Numbers, spans: Count
) -> Call:
    """Prefetch the keys and values up to the position of each span's first row, where the next are written;
    nothing if there is one span only. The arguments are those of `bind_attend`.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    arguments = {**cache_arguments(keys, values), **place_arguments(pages, positions, spans)}
    return prefetch_kernel(keys.kind).bind(**arguments)


@cache
def prefetch_kernel(kind: CacheType) -> Kernel:
    """The kernel for a type."""
    line, has_blocks = LINE // kind.element.size, kind.block_bytes > 0
    key_row, value_row = slot_functions(kind)

    @kernel(Record(**cache_fields(kind), **PLACES), f"cache_prefetch_{kind.name}")
    def cache_prefetch(args, thread_id, n_threads):
        n_spans = args.spans[0]
        for item in range(n_spans * args.n_kv_heads if n_spans > 1 else 0):
            # Each thread asks for what it will attend to, if all spans have one row.
            if not is_turn(item, thread_id, n_threads):
                continue
            head = item % args.n_kv_heads
            first, _, seat = span_at(args.spans, item // args.n_kv_heads)
            end, pages = args.positions[first] + 1, args.pages + seat * args.ld_pages
            for start in range(max(end - N_POSITIONS, 0) // CACHE_BLOCK * CACHE_BLOCK, end, CACHE_BLOCK):
                slot = head * args.n_slots + slot_of(pages, start)
                n = min(end - start, CACHE_BLOCK)
                keys, values = args.keys + slot * key_row(args), args.values + slot * value_row(args)
                for i in range(0, (n + CACHE_LANES - 1) // CACHE_LANES * CACHE_LANES * key_row(args), line):
                    prefetch(keys + i)
                if has_blocks:
                    for i in range(0, n * value_row(args), line):
                        prefetch(values + i)
                else:
                    for first in range(0, args.padded * CACHE_BLOCK, CACHE_LANES * CACHE_BLOCK):
                        for i in range(0, n * CACHE_LANES, line):
                            prefetch(values + (first + i))

    return cache_prefetch
