"""Attention of a bundle of queries to one block of keys and values, and the states in which it gathers.

Queries go in *bundles* of QUERIES. A bundle's rows (of queries, weights, states) are interleaved by vectors:
number i of all of them, `place`, stands within LANES * QUERIES numbers.

A query's *state* is a row of float32: LANES times the largest score so far, m; LANES partial sums of weights,
whose sum is l; then the weighted sum of values, o. With s_j the scores of the positions seen so far

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

import numpy as np

from ..language.exponential import exp_weight
from ..language.pointer import F32, Pointer
from ..language.simd import (
    fma,
    lane_numbers,
    load,
    load_splat,
    maximum,
    reduce_add,
    repeat,
    splat,
    spread_max,
    store,
    tile,
    to_f32,
    where_less,
)
from ..language.source import called, inlined
from ..target.target import host_target
from .kv_cache import BLOCK, LANES

_AVX512 = host_target().lanes == LANES
QUERIES = 4 if _AVX512 else 6  # in a bundle: sums in registers, enough for multiplications to overlap
VECTORS = 4 if _AVX512 else 1  # of keys or values that a bundle meets at a time
FEW = 4  # queries of a bundle in a step of few
HEAD = 2 * LANES  # a state's m and l; o follows
LOWEST = -3.0e38
MASKED = -np.inf
NO_CHUNK = 2**62  # as the size of a chunk that everything is in
_TOGETHER, _LINE = VECTORS * LANES, QUERIES * LANES


@inlined
def place(i: int, query: int) -> int:
    """Where number i of a query stands in the rows of its bundle."""
    return (i & -LANES) * QUERIES + query * LANES + (i & (LANES - 1))


@called
def start_states(states: Pointer, size: int) -> None:
    """The states of a bundle that has seen nothing."""
    store(states, splat(LOWEST, F32, LANES, QUERIES), LANES)
    for i in range(_LINE, size * QUERIES, _LINE):
        store(states + i, splat(-0.0, F32, LANES, QUERIES), LANES)  # -0 + x is x, to the bit


@called
def merge_states(totals: Pointer, states: Pointer, size: int) -> None:
    """Add to the states `totals` of a bundle what `states` have seen."""
    m_total, m_state = load(totals, LANES, QUERIES, LANES), load(states, LANES, QUERIES, LANES)
    m = maximum(m_total, m_state)
    scale_total, scale_state = exp_weight(m_total - m), exp_weight(m_state - m)
    store(totals, m, LANES)
    for i in range(_LINE, size * QUERIES, _LINE):
        added = load(states + i, LANES, QUERIES, LANES) * scale_state
        store(totals + i, fma(load(totals + i, LANES, QUERIES, LANES), scale_total, added), LANES)


@called
def finish_state(out: Pointer, states: Pointer, query: int, head_dim: int) -> None:
    """out = o / l of one query of a bundle."""
    scale = np.float32(1) / reduce_add(load(states + place(LANES, query), LANES))
    whole = head_dim - head_dim % 8
    for i in range(0, whole, 8):
        store(out + i, load(states + place(HEAD + i, query), 8) * scale)
    for i in range(whole, head_dim):
        out[i] = states[place(HEAD + i, query)] * scale


@cache
def _adding_products(n_queries: int, n_vectors: int) -> Callable[..., np.ndarray]:
    """Make the function that adds to `sums` the products of n_queries rows of a bundle, numbers first .. last
    - 1, with n_vectors vectors of columns, which lie `stride` apart; those with the first vector come
    first."""

    @called
    def add_products(
        sums: np.ndarray, rows: Pointer, columns: Pointer, stride: int, first: int, last: int
    ) -> np.ndarray:
        for start in range(first & -LANES, last, LANES):
            vectors = rows + start * QUERIES
            for i in range(max(first - start, 0), min(last - start, LANES)):
                row = load_splat(vectors + i, LANES, n_queries, LANES)
                column = to_f32(load(columns + (start + i) * LANES, LANES, n_vectors, stride))
                sums = fma(tile(row, n_vectors), repeat(column, n_queries), sums)
        return sums

    return add_products


@cache
def _attending(n_queries: int) -> tuple[Callable[..., None], Callable[..., None], Callable[..., None]]:
    """Make the functions that take a block in, for the first n_queries of a bundle: for all, or FEW."""
    n_sums = n_queries * VECTORS
    add_products, add_products_of_one = (_adding_products(n_queries, n) for n in (VECTORS, 1))

    @called
    def score(scores: Pointer, q: Pointer, keys: Pointer, head_dim: int, first: int, last: int) -> None:
        """The products of queries with the keys of positions first .. last - 1, and more to whole vectors."""
        for p in range(first & -_TOGETHER, last, _TOGETHER):
            nothing = splat(0.0, F32, LANES, n_sums)
            products = add_products(nothing, q, keys + p * head_dim, head_dim * LANES, 0, head_dim)
            store(scores + p * QUERIES, products, LANES)

    @called
    def add_values(o: Pointer, n: int, weights: Pointer, values: Pointer, first: int, last: int) -> None:
        """o (n, whole vectors) = o + the weighted values of positions first .. last - 1."""
        together = n & -_TOGETHER
        for i in range(0, together, _TOGETHER):
            sums = load(o + i * QUERIES, LANES, n_sums, LANES)
            sums = add_products(sums, weights, values + i * BLOCK, BLOCK * LANES, first, last)
            store(o + i * QUERIES, sums, LANES)
        for i in range(together, n, LANES):
            sum_of_one = load(o + i * QUERIES, LANES, n_queries, LANES)
            sum_of_one = add_products_of_one(sum_of_one, weights, values + i * BLOCK, 0, first, last)
            store(o + i * QUERIES, sum_of_one, LANES)

    @called
    def weigh(
        states: Pointer,
        size: int,
        scores: Pointer,
        n: int,
        bounds: Pointer,
        first: int,
        last: int,
        masked: bool,
    ) -> None:
        """Make weights of the scores of n queries at positions first .. last - 1, whole vectors; the states
        take them in, and are scaled for their values. If `masked`, query i sees but the positions bounds[i]
        .. bounds[QUERIES + i] - 1 of them (int32)."""
        m_before = load(states, LANES, n_queries, LANES)
        m = m_before
        for p in range(first, last, LANES):
            line = load(scores + p * QUERIES, LANES, n_queries, LANES)
            if masked:
                lanes, nothing = lane_numbers(LANES) + p, splat(MASKED, F32, LANES)
                line = where_less(lanes, load_splat(bounds, LANES, n_queries, 1), nothing, line)
                line = where_less(lanes, load_splat(bounds + QUERIES, LANES, n_queries, 1), line, nothing)
                store(scores + p * QUERIES, line, LANES)
            m = maximum(m, line)
        m = spread_max(m)
        scale = exp_weight(m_before - m)
        store(states, m, LANES)
        for i in range(_LINE, size * QUERIES, _LINE):
            store(states + i, load(states + i, LANES, n_queries, LANES) * scale, LANES)
        for i in range(0, n * LANES, LANES):
            largest, total = load(states + i, LANES), load(states + _LINE + i, LANES)
            for p in range(first * QUERIES + i, last * QUERIES + i, _LINE):
                weight = exp_weight(load(scores + p, LANES) - largest)
                total = total + weight
                store(scores + p, weight)
            store(states + _LINE + i, total)

    return score, weigh, add_values


score, weigh, add_values = _attending(QUERIES)
score_few, weigh_few, add_values_few = _attending(FEW)


@called
def add_own_values(
    o: Pointer, n: int, weights: Pointer, values: Pointer, query: int, first: int, last: int
) -> None:
    """The same for one query of a bundle."""
    for i in range(0, n, LANES):
        at = o + place(i, query)
        own = load(at, LANES)
        for p in range(first, last):
            value = to_f32(load(values + i * BLOCK + p * LANES, LANES))
            own = fma(value, weights[place(p, query)], own)
        store(at, own)


@called
def first_seen(position: int, window: int, chunk: int) -> int:
    """The first position that the query at a position sees: of its window and of its chunk."""
    return max(position - window + 1, position - position % chunk)


@called
def last_seen(position: int, window: int, last: int, is_causal: int) -> int:
    """The last position that it sees: its own, or if not causal, of its window up to `last`, the step's."""
    return position if is_causal == 1 else min(position + window - 1, last)
