"""Attention of a bundle of queries to one block of keys and values, which their states take in.

Scores come first, then weights of these, then the weighted values: s_j, exp(s_j - m) and o of the states
(`StateFunctions`). A bundle is full, or has FEW queries.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ..language.exponential import exp_weight
from ..language.pointer import F32, Pointer
from ..language.simd import (
    fma,
    lane_numbers,
    load,
    load_splat,
    maximum,
    prefetch,
    repeat,
    splat,
    spread_max,
    store,
    tile,
    to_f32,
    where_less,
)
from ..language.source import called
from ..target.target import host_target
from .kv_cache import CACHE_BLOCK, CACHE_LANES
from .softmax_state import queries_per_bundle, state_functions

FEW = 4  # queries of a bundle in a step of few
MASKED = -np.inf


class BlockFunctions(NamedTuple):
    """Functions for kernels, for the first n_queries of a bundle; `first` .. `last` - 1 are positions in a
    block.

    `score(scores, q, keys, head_dim, first, last)`: the products of queries with keys, and more to whole
    vectors.
    `weigh(states, size, scores, n, bounds, first, last, masked)`: weights of the scores of n queries, whole
    vectors; the states take them in, and are scaled for their values. If `masked`, query i sees only
    the positions bounds[i] .. bounds[queries_per_bundle + i] - 1 of them (int32).
    `add_values(o, n, weights, values, first, last)`: o (n, whole vectors) = o + the weighted values.
    """

    score: Callable[..., None]
    weigh: Callable[..., None]
    add_values: Callable[..., None]


@cache
def _adding_products(n_queries: int, n_vectors: int) -> Callable[..., np.ndarray]:
    """Make the function that adds to `sums` the products of n_queries rows of a bundle, numbers first .. last
    - 1, with n_vectors vectors of columns, which lie `stride` apart; those with the first vector come
    first. `ahead`: how far those lie that FEW queries read next."""
    queries, looks_ahead = queries_per_bundle(), n_queries == FEW

    @called
    def add_products(
        sums: np.ndarray, rows: Pointer, columns: Pointer, stride: int, first: int, last: int, ahead: int
    ) -> np.ndarray:
        for start in range(first & -CACHE_LANES, last, CACHE_LANES):
            vectors = rows + start * queries
            for i in range(max(first - start, 0), min(last - start, CACHE_LANES)):
                if looks_ahead and ahead != 0:
                    for vector in range(n_vectors):
                        prefetch(columns + ((start + i) * CACHE_LANES + vector * stride + ahead))
                row = load_splat(vectors + i, CACHE_LANES, n_queries, CACHE_LANES)
                column = to_f32(load(columns + (start + i) * CACHE_LANES, CACHE_LANES, n_vectors, stride))
                sums = fma(tile(row, n_vectors), repeat(column, n_queries), sums)
        return sums

    return add_products


@cache
def block_functions(n_queries: int) -> BlockFunctions:
    """Make the functions for the target."""
    queries, n_vectors = queries_per_bundle(), 4 if host_target().lanes == CACHE_LANES else 1
    line, together = queries * CACHE_LANES, n_vectors * CACHE_LANES
    n_sums = n_queries * n_vectors
    add_products, add_products_of_one = (_adding_products(n_queries, n) for n in (n_vectors, 1))

    @called
    def score(
        scores: Pointer, q: Pointer, keys: Pointer, head_dim: int, first: int, last: int, ahead: int
    ) -> None:
        p = first & -CACHE_LANES
        while p + together - CACHE_LANES < last:
            nothing = splat(0.0, F32, CACHE_LANES, n_sums)
            products = add_products(
                nothing, q, keys + p * head_dim, head_dim * CACHE_LANES, 0, head_dim, ahead
            )
            store(scores + p * queries, products, CACHE_LANES)
            p += together
        while p < last:  # of a block that is filled in part
            nothing_yet = splat(0.0, F32, CACHE_LANES, n_queries)
            product = add_products_of_one(nothing_yet, q, keys + p * head_dim, 0, 0, head_dim, ahead)
            store(scores + p * queries, product, CACHE_LANES)
            p += CACHE_LANES

    @called
    def add_values(
        o: Pointer, n: int, weights: Pointer, values: Pointer, first: int, last: int, ahead: int
    ) -> None:
        whole = n & -together
        for i in range(0, whole, together):
            sums = load(o + i * queries, CACHE_LANES, n_sums, CACHE_LANES)
            sums = add_products(
                sums, weights, values + i * CACHE_BLOCK, CACHE_BLOCK * CACHE_LANES, first, last, ahead
            )
            store(o + i * queries, sums, CACHE_LANES)
        for i in range(whole, n, CACHE_LANES):
            sum_of_one = load(o + i * queries, CACHE_LANES, n_queries, CACHE_LANES)
            sum_of_one = add_products_of_one(
                sum_of_one, weights, values + i * CACHE_BLOCK, 0, first, last, ahead
            )
            store(o + i * queries, sum_of_one, CACHE_LANES)

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
        m_before = load(states, CACHE_LANES, n_queries, CACHE_LANES)
        m = m_before
        for p in range(first, last, CACHE_LANES):
            some = load(scores + p * queries, CACHE_LANES, n_queries, CACHE_LANES)
            if masked:
                lanes, nothing = lane_numbers(CACHE_LANES) + p, splat(MASKED, F32, CACHE_LANES)
                some = where_less(lanes, load_splat(bounds, CACHE_LANES, n_queries, 1), nothing, some)
                some = where_less(
                    lanes, load_splat(bounds + queries, CACHE_LANES, n_queries, 1), some, nothing
                )
                store(scores + p * queries, some, CACHE_LANES)
            m = maximum(m, some)
        m = spread_max(m)
        scale = exp_weight(m_before - m)
        store(states, m, CACHE_LANES)
        for i in range(line, size * queries, line):
            store(states + i, load(states + i, CACHE_LANES, n_queries, CACHE_LANES) * scale, CACHE_LANES)
        for i in range(0, n * CACHE_LANES, CACHE_LANES):
            largest, total = load(states + i, CACHE_LANES), load(states + line + i, CACHE_LANES)
            for p in range(first * queries + i, last * queries + i, line):
                weight = exp_weight(load(scores + p, CACHE_LANES) - largest)
                total = total + weight
                store(scores + p, weight)
            store(states + line + i, total)

    return BlockFunctions(score, weigh, add_values)


@cache
def own_values_function() -> Callable[..., None]:
    """Make the function that adds weighted values for one query of a bundle.

    `add_own_values(o, n, weights, values, query, first, last)`, else as `BlockFunctions.add_values`.
    """
    place = state_functions().place

    @called
    def add_own_values(
        o: Pointer, n: int, weights: Pointer, values: Pointer, query: int, first: int, last: int
    ) -> None:
        for i in range(0, n, CACHE_LANES):
            at = o + place(i, query)
            own = load(at, CACHE_LANES)
            for p in range(first, last):
                value = to_f32(load(values + i * CACHE_BLOCK + p * CACHE_LANES, CACHE_LANES))
                own = fma(value, weights[place(p, query)], own)
            store(at, own)

    return add_own_values
