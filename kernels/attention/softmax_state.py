"""States of an online softmax: what a query keeps of the positions that it has seen so far.

Queries go in *bundles* of `queries_per_bundle`. A bundle's rows (of queries, weights, states) are interleaved
by vectors of L = `CACHE_LANES` numbers: the first L of each row, then the next L of each (`place`).

A query's *state* is a row of float32: L times the largest score so far, m; L partial sums of weights, whose
sum is l; then the weighted sum of values, o. With s_j the scores of the positions seen so far

    m = max_j s_j      l = sum_j exp(s_j - m)      o = sum_j exp(s_j - m) v_j      attention = o / l

A block of positions raises m to m', scales l and o by exp(m - m') and adds its own terms; two states over
different positions are merged in the same way. A state that has seen nothing has m = LOWEST, which is finite,
so that a block or a lane that a query does not see (score -inf, weight 0) leaves its state as it is, bit by
bit.

Source: Milakov & Gimelshein 2018, "Online normalizer calculation for softmax" (arXiv:1805.02867); Dao et al.
2022, "FlashAttention" (arXiv:2205.14135).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ..language.exponential import exp_weight
from ..language.pointer import F32, Pointer
from ..language.simd import fma, load, maximum, reduce_add, splat, store
from ..language.source import called, inlined
from ..target.target import host_target
from .kv_cache import CACHE_LANES

HEAD = 2 * CACHE_LANES  # a state's m and l; o follows
LOWEST = -3.0e38


@cache
def queries_per_bundle() -> int:
    """As many as have sums in registers, enough for multiplications to overlap."""
    return 4 if host_target().lanes == CACHE_LANES else 6


class StateFunctions(NamedTuple):
    """Functions for kernels; `states` are those of a bundle, of `size` numbers each.

    `place(i, query)` -> where number i of a query stands in the rows of its bundle;
    `start(states, size)` for a bundle that has seen nothing; `merge(totals, states, size)` adds to `totals`
    what `states` have seen; `finish(out, states, query, head_dim)` writes out = o / l of one query.
    """

    place: Callable[[int, int], int]
    start: Callable[[Pointer, int], None]
    merge: Callable[[Pointer, Pointer, int], None]
    finish: Callable[[Pointer, Pointer, int, int], None]


@cache
def state_functions() -> StateFunctions:
    """Make the functions for the target."""
    queries = queries_per_bundle()
    line = queries * CACHE_LANES

    @inlined
    def place(i: int, query: int) -> int:
        return (i & -CACHE_LANES) * queries + query * CACHE_LANES + (i & (CACHE_LANES - 1))

    @called
    def start(states: Pointer, size: int) -> None:
        store(states, splat(LOWEST, F32, CACHE_LANES, queries), CACHE_LANES)
        for i in range(line, size * queries, line):
            store(states + i, splat(-0.0, F32, CACHE_LANES, queries), CACHE_LANES)  # -0 + x is x, to the bit

    @called
    def merge(totals: Pointer, states: Pointer, size: int) -> None:
        m_total, m_state = (
            load(totals, CACHE_LANES, queries, CACHE_LANES),
            load(states, CACHE_LANES, queries, CACHE_LANES),
        )
        m = maximum(m_total, m_state)
        scale_total, scale_state = exp_weight(m_total - m), exp_weight(m_state - m)
        store(totals, m, CACHE_LANES)
        for i in range(line, size * queries, line):
            added = load(states + i, CACHE_LANES, queries, CACHE_LANES) * scale_state
            store(
                totals + i,
                fma(load(totals + i, CACHE_LANES, queries, CACHE_LANES), scale_total, added),
                CACHE_LANES,
            )

    @called
    def finish(out: Pointer, states: Pointer, query: int, head_dim: int) -> None:
        scale = np.float32(1) / reduce_add(load(states + place(CACHE_LANES, query), CACHE_LANES))
        whole = head_dim - head_dim % 8
        for i in range(0, whole, 8):
            store(out + i, load(states + place(HEAD + i, query), 8) * scale)
        for i in range(whole, head_dim):
            out[i] = states[place(HEAD + i, query)] * scale

    return StateFunctions(place, start, merge, finish)
