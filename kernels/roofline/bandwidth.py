"""The bandwidth of reading memory: the limit of decoding, which reads every weight once a token.

totals[thread] = sum of the thread's share of data, as int32 vectors

data  (n,) int32, n a multiple of 64      totals  (n_threads, 16) int32
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..jit.kernel import Call, kernel
from ..language.checks import check_array
from ..language.pointer import I32, I64
from ..language.record import PointerTo, Record
from ..language.rows import share
from ..language.simd import load, part, prefetch, splat, store

LINES = 4  # of 64 bytes, read side by side
WORDS = 16  # int32 in a line
PREFETCH_WORDS = 1024


def bind_bandwidth(data: NDArray[np.int32], totals: NDArray[np.int32]) -> Call:
    """Read `data` once, split over as many threads as `totals` has rows. Raises ValueError for sizes that do
    not fit."""
    check_array("data", data, (None,), np.int32)
    check_array("totals", totals, (None, WORDS), np.int32)
    if data.size % (LINES * WORDS):
        raise ValueError(f"data must have a multiple of {LINES * WORDS} words, not {data.size}")
    return _read_all.bind(data=data, totals=totals, n_words=data.size)


@kernel(Record(data=PointerTo(I32), totals=PointerTo(I32), n_words=I64))
def _read_all(args, thread_id, n_threads):
    sums = splat(0, I32, WORDS, LINES)
    first, last = share(args.n_words // (LINES * WORDS), thread_id, n_threads)
    for i in range(first, last):
        p = args.data + i * LINES * WORDS
        for line in range(LINES):
            prefetch(p + PREFETCH_WORDS + line * WORDS)
        sums = sums + load(p, WORDS, LINES, WORDS)
    total = (part(sums, 0, 1) + part(sums, 1, 1)) + (part(sums, 2, 1) + part(sums, 3, 1))
    store(args.totals + thread_id * WORDS, total)
