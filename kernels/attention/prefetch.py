"""Prefetches the keys and values that attention is about to read. It changes no results.

A short sequence has a few kilobytes of them in every layer, too few for the processor to predict what is read
next: attention then waits for memory line by line, for three quarters of its time. Here all lines are asked
for before any is read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import Count, Halves
from ..language.record import Record
from ..language.rows import is_turn
from ..language.simd import prefetch
from .kv_cache import CACHE, CACHE_BLOCK, CACHE_LANES, cache_arguments

N_POSITIONS = 256  # the last ones; the processor predicts the reading of a longer sequence
LINE = 32  # float16 in a cache line


def bind_cache_prefetch(keys: Halves, values: Halves, positions: NDArray[np.int64], n_tokens: Count) -> Call:
    """Prefetch the keys and values up to the position of a step's first token, where the next are written.
    positions and n_tokens are those of `bind_cache_write`.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    return _cache_prefetch.bind(**cache_arguments(keys, values, positions, n_tokens))


@kernel(Record(**CACHE))
def _cache_prefetch(args, thread_id, n_threads):
    if args.n_tokens[0] == 0:
        return
    end = args.positions[0] + 1
    for head in range(args.n_kv_heads):
        # Each thread asks for what it will attend to, if that is one segment.
        if not is_turn(head, thread_id, n_threads):
            continue
        for start in range(max(end - N_POSITIONS, 0) // CACHE_BLOCK * CACHE_BLOCK, end, CACHE_BLOCK):
            slot = head * args.n_slots + start % args.n_slots
            n = min(end - start, CACHE_BLOCK)
            keys, values = args.keys + slot * args.head_dim, args.values + slot * args.padded
            for i in range(0, (n + CACHE_LANES - 1) // CACHE_LANES * CACHE_LANES * args.head_dim, LINE):
                prefetch(keys + i)
            for first in range(0, args.padded * CACHE_BLOCK, CACHE_LANES * CACHE_BLOCK):
                for i in range(0, n * CACHE_LANES, LINE):
                    prefetch(values + (first + i))
