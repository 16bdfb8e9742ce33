"""Attention of a few queries to one block of keys and values, and the states in which it gathers.

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

import numpy as np

from .exponential import exp
from .kv_cache import BLOCK, LANES
from .pointer import F32, Pointer
from .simd import (
    fma,
    lane_numbers,
    load,
    load_splat,
    maximum,
    part,
    reduce_add,
    repeat,
    splat,
    spread_max,
    store,
    tile,
    to_f32,
    where_less,
)
from .source import called, inlined
from .target import host_target

QUERIES = 4  # worked on side by side
VECTORS = 2 if host_target().lanes == LANES else 1  # that each of them meets at a time: what registers hold
_PRODUCTS, _POSITIONS = VECTORS * QUERIES, VECTORS * LANES
HEAD = 2 * LANES  # a state's m and l; o follows
LOWEST = -3.0e38
MASKED = -np.inf
NO_CHUNK = 2**62  # as the size of a chunk that everything is in


@called
def start_state(state: Pointer, size: int) -> None:
    """The state of a query that has seen nothing."""
    store(state, splat(LOWEST, F32, LANES))
    for i in range(LANES, size, LANES):
        store(state + i, splat(0.0, F32, LANES))


@called
def merge_state(total: Pointer, state: Pointer, size: int) -> None:
    """Add to `total` what `state` has seen."""
    m_total, m_state = load(total, LANES), load(state, LANES)
    m = maximum(m_total, m_state)
    scale_total, scale_state = exp(m_total - m), exp(m_state - m)
    store(total, m)
    for i in range(LANES, size, LANES):
        store(total + i, fma(load(state + i, LANES), scale_state, load(total + i, LANES) * scale_total))


@called
def finish_state(out: Pointer, state: Pointer, head_dim: int) -> None:
    """out = o / l."""
    weights = reduce_add(load(state + LANES, LANES))
    whole = head_dim - head_dim % 8
    for i in range(0, whole, 8):
        store(out + i, load(state + HEAD + i, 8) / weights)
    for i in range(whole, head_dim):
        out[i] = state[HEAD + i] / weights


@called
def _scores(q: Pointer, keys: Pointer, head_dim: int) -> np.ndarray:
    """The products of QUERIES queries with VECTORS vectors of neighbouring keys; those with the first vector
    come first."""
    products = splat(0.0, F32, LANES, _PRODUCTS)
    for i in range(head_dim):
        query = load_splat(q + i, LANES, QUERIES, head_dim)
        key = to_f32(load(keys + i * LANES, LANES, VECTORS, head_dim * LANES))
        products = fma(tile(query, VECTORS), repeat(key, QUERIES), products)
    return products


@inlined
def _masked(scores: np.ndarray, p: int, bounds: Pointer, all_first: int, all_last: int) -> np.ndarray:
    """The scores of LANES positions from p on: -inf where a query does not see them."""
    if p < all_first or p + LANES > all_last:
        lanes = lane_numbers(LANES) + p
        masked = splat(MASKED, F32, LANES)
        scores = where_less(lanes, load_splat(bounds, LANES, QUERIES, 1), masked, scores)
        scores = where_less(lanes, load_splat(bounds + QUERIES, LANES, QUERIES, 1), scores, masked)
    return scores


@called
def _add_values(
    states: Pointer, size: int, scale: np.ndarray, weights: Pointer, values: Pointer, first: int, last: int
) -> None:
    """o = o * scale + the weighted values of positions first .. last - 1, for QUERIES queries."""
    padded = size - HEAD
    paired = padded // (2 * LANES) * (2 * LANES) if VECTORS == 2 else 0
    for i in range(0, paired, 2 * LANES):
        first_o = load(states + HEAD + i, LANES, QUERIES, size) * scale
        second_o = load(states + HEAD + LANES + i, LANES, QUERIES, size) * scale
        for p in range(first, last):
            value, weight = values + i * BLOCK + p * LANES, load_splat(weights + p, LANES, QUERIES, BLOCK)
            first_o = fma(weight, to_f32(load(value, LANES)), first_o)
            second_o = fma(weight, to_f32(load(value + BLOCK * LANES, LANES)), second_o)
        store(states + HEAD + i, first_o, size)
        store(states + HEAD + LANES + i, second_o, size)
    for i in range(paired, padded, LANES):
        o = load(states + HEAD + i, LANES, QUERIES, size) * scale
        for p in range(first, last):
            v = to_f32(load(values + i * BLOCK + p * LANES, LANES))
            o = fma(load_splat(weights + p, LANES, QUERIES, BLOCK), v, o)
        store(states + HEAD + i, o, size)


@called
def _add_own_values(
    state: Pointer, size: int, weights: Pointer, values: Pointer, first: int, last: int
) -> None:
    """The same for one query, without scale."""
    padded = size - HEAD
    for i in range(0, padded, LANES):
        o = load(state + HEAD + i, LANES)
        for p in range(first, last):
            o = fma(to_f32(load(values + i * BLOCK + p * LANES, LANES)), weights[p], o)
        store(state + HEAD + i, o)


@called
def first_seen(position: int, window: int, chunk: int) -> int:
    """The first position that the query at a position sees: of its window and of its chunk."""
    return max(position - window + 1, position - position % chunk)


@called
def last_seen(position: int, window: int, last: int, is_causal: int) -> int:
    """The last position that it sees: its own, or if not causal, of its window up to `last`, the step's."""
    return position if is_causal == 1 else min(position + window - 1, last)


@called
def _seen(position: int, lowest: int, start: int) -> tuple[int, int]:
    """The query that sees lowest .. position sees first .. last - 1 of the block that begins at `start`."""
    first = min(max(lowest - start, 0), BLOCK)
    return first, min(max(position + 1 - start, first), BLOCK)


@called
def attend_block(
    q: Pointer,
    states: Pointer,
    size: int,
    keys: Pointer,
    values: Pointer,
    positions: Pointer,
    starts: Pointer,
    start: int,
    head_dim: int,
    weights: Pointer,
    bounds: Pointer,
) -> None:
    """Take a block of BLOCK positions into the states of QUERIES queries.

    q (QUERIES, head_dim), already scaled; states (QUERIES, size); keys and values of the block, as in
    `kv_cache.py`; positions and starts (QUERIES,) int64: the last and the first that each query sees; start:
    of the block; weights (QUERIES, BLOCK) and bounds (2, QUERIES) int32: working memory.
    """
    # The positions first .. last - 1 that the queries see: at least one of them, and all of them.
    seen_first, seen_last, all_first, all_last = BLOCK, 0, 0, BLOCK
    for i in range(QUERIES):
        first, last = _seen(positions[i], starts[i], start)
        bounds[i], bounds[QUERIES + i] = first, last
        if first < last:
            seen_first, seen_last = min(seen_first, first), max(seen_last, last)
        all_first, all_last = max(all_first, first), min(all_last, last)
    if seen_first >= seen_last:
        return

    m_before = load(states, LANES, QUERIES, size)
    m = m_before
    begin = seen_first // _POSITIONS * _POSITIONS
    for p in range(begin, seen_last, _POSITIONS):
        products = _scores(q, keys + p * head_dim, head_dim)
        scores = _masked(part(products, 0, QUERIES), p, bounds, all_first, all_last)
        store(weights + p, scores, BLOCK)
        m = maximum(m, scores)
        if VECTORS == 2:
            scores = _masked(part(products, QUERIES, QUERIES), p + LANES, bounds, all_first, all_last)
            store(weights + p + LANES, scores, BLOCK)
            m = maximum(m, scores)
    m = spread_max(m)
    scale = exp(m_before - m)
    store(states, m, size)
    store(states + LANES, load(states + LANES, LANES, QUERIES, size) * scale, size)
    for i in range(QUERIES):
        state, row = states + i * size, weights + i * BLOCK
        largest, total = load(state, LANES), load(state + LANES, LANES)
        for p in range(begin, seen_last, LANES):
            weight = exp(load(row + p, LANES) - largest)
            total = total + weight
            store(row + p, weight)
        store(state + LANES, total)

    # The value of a position that a query does not see may be anything, even NaN: its weight 0 does not
    # remove it.
    if all_first >= all_last:
        all_first, all_last = seen_last, seen_last
    if seen_first < all_first:
        _add_values(states, size, scale, weights, values, 0, 0)
        scale = splat(1.0, F32, LANES, QUERIES)
        for i in range(QUERIES):
            first, last = _seen(positions[i], starts[i], start)
            _add_own_values(states + i * size, size, weights + i * BLOCK, values, first, min(last, all_first))
    _add_values(states, size, scale, weights, values, all_first, all_last)
    if all_last < seen_last:
        for i in range(QUERIES):
            first, last = _seen(positions[i], starts[i], start)
            _add_own_values(states + i * size, size, weights + i * BLOCK, values, max(first, all_last), last)
