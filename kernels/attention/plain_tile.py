"""A tile: the queries of some tokens that share a key head, and what attention does with them, in kernels.

Bundles of queries go through a block of positions one after the other. In a step of few queries the bundles
have FEW of them and read the cache as it is; otherwise the block is first converted to float32, for all
bundles together. Quantized blocks are always converted.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from ..language.pointer import F32, I32, I64, Pointer, cast
from ..language.rows import CACHE_LINE
from ..language.simd import load, prefetch, splat, store
from ..language.source import called
from ..language.spans import span_at
from .cache_type import CacheType
from .kv_cache import CACHE_BLOCK, CACHE_LANES, slot_functions, slot_of
from .online_softmax import FEW, block_functions, own_values_function
from .plain_scratch import SEGMENT
from .softmax_state import HEAD, queries_per_bundle, state_functions
from .visible import first_seen, last_seen
from .widen import widen_functions


class Tile(NamedTuple):
    """The working memory of a thread: arrays one after the other, float32 unless something else is said.

    A row is a query; rows of a bundle are interleaved (`StateFunctions.place`).
    """

    keys: Pointer  # (CACHE_BLOCK * head_dim) of a block, in the order of the cache
    values: Pointer  # (CACHE_BLOCK * padded)
    weights: Pointer  # (CACHE_BLOCK, queries_per_bundle) of a bundle: scores first, then exp(score - m)
    bounds: Pointer  # (2, queries_per_bundle) int32: which positions of a block a query sees, from and up to
    q: Pointer  # (tile_rows, padded), times the scale
    states: Pointer  # (tile_rows, state_size) of the segment that is at work
    totals: Pointer  # (tile_rows, state_size) of all segments before it
    lowest: Pointer  # (tile_rows,) int64: the first position that a query sees
    highest: Pointer  # (tile_rows,) int64: the last one


class Span(NamedTuple):
    """The rows of a step that belong to one sequence."""

    first: int
    last: int  # the row after them
    newest: int  # the position of the last of them
    pages: Pointer  # of the sequence's positions


class Following(NamedTuple):
    """What a thread attends to next: it is prefetched meanwhile."""

    pages: Pointer  # of the sequence's positions
    first_slot: int  # of the key head
    shift: int  # from a position of the sequence that is read now to one of this
    last: int  # position; -1: there is none


@called
def span_of(args, number):
    """The `Span` of this number."""
    first, last, seat = span_at(args.spans, number)
    return Span(first, last, args.positions[last - 1], args.pages + seat * args.ld_pages)


@called
def start_of(args, position):
    """The first position that the query at a position sees."""
    return first_seen(position, args.window, args.chunk)


@called
def end_of(args, span, position):
    """The last position that the query at a position sees."""
    return last_seen(position, args.window, span.newest, args.is_causal)


@called
def _seen(lowest, highest, start):
    """Of the block that begins at `start`, lowest .. highest are the positions first .. last - 1."""
    first = min(max(lowest - start, 0), CACHE_BLOCK)
    return first, min(max(highest + 1 - start, first), CACHE_BLOCK)


@called
def _extremes(tile, first, last):
    """The positions that at least one query of rows first .. last - 1 sees, from where and up to where; and
    those that all see."""
    some_from, some_to = tile.lowest[first], tile.highest[first]
    all_from, all_to = some_from, some_to
    for i in range(first + 1, last):
        some_from, all_from = min(some_from, tile.lowest[i]), max(all_from, tile.lowest[i])
        some_to, all_to = max(some_to, tile.highest[i]), min(all_to, tile.highest[i])
    return some_from, some_to, all_from, all_to


class QueryFunctions(NamedTuple):
    """Functions for kernels over the record `args` of attention.

    `tile_of(args, thread_id)` -> the `Tile` of a thread, its part of `scratch` cut up in the order of the
    fields.
    `gather(args, span, tile, kv_head, first_token, n, n_bundle)` reads n queries for a key head, scaled,
    n_bundle to a bundle -> how many rows that makes; what is left of a bundle is zero, and sees what the
    query before it sees.
    `finish(args, totals, kv_head, first, last, n_bundle)` writes the results of queries first .. last - 1 of
    the step that share a key head.
    """

    tile_of: Callable[..., Tile]
    gather: Callable[..., int]
    finish: Callable[..., None]


@cache
def query_functions() -> QueryFunctions:
    """Make the functions for the target."""
    queries, (place, _, _, finish_query) = queries_per_bundle(), state_functions()

    @called
    def tile_of(args, thread_id):
        keys = args.scratch + thread_id * args.ld_scratch
        values = keys + CACHE_BLOCK * args.head_dim
        weights = values + CACHE_BLOCK * args.padded
        bounds = cast(weights + CACHE_BLOCK * queries, I32)
        q = weights + (CACHE_BLOCK + 2) * queries  # after weights and bounds
        states = q + args.tile_rows * args.padded
        totals = states + args.tile_rows * args.state_size
        lowest = cast(totals + args.tile_rows * args.state_size, I64)
        return Tile(keys, values, weights, bounds, q, states, totals, lowest, lowest + args.tile_rows)

    @called
    def gather(args, span, tile, kv_head, first_token, n, n_bundle):
        d, whole = args.head_dim, args.head_dim - args.head_dim % 8
        token, head, row = first_token, 0, 0
        for first in range(0, n, n_bundle):
            bundle = tile.q + row * args.padded
            for query in range(queries):
                if query < min(n - first, n_bundle):
                    x = args.q + token * args.ld_q + (kv_head * args.group + head) * d
                    for i in range(0, whole, 8):
                        store(bundle + place(i, query), load(x + i, 8) * args.scale)
                    for i in range(whole, d):
                        bundle[place(i, query)] = x[i] * args.scale
                    tile.lowest[row] = start_of(args, args.positions[token])
                    tile.highest[row] = end_of(args, span, args.positions[token])
                    head += 1
                    if head == args.group:
                        token, head = token + 1, 0
                else:
                    for i in range(0, args.padded, CACHE_LANES):
                        store(bundle + place(i, query), splat(0.0, F32, CACHE_LANES))
                    tile.lowest[row], tile.highest[row] = tile.lowest[row - 1], tile.highest[row - 1]
                row += 1
        return row

    @called
    def finish(args, totals, kv_head, first, last, n_bundle):
        token, head, query = first // args.group, first % args.group, 0
        for _ in range(first, last):
            out = args.out + token * args.ld_out + (kv_head * args.group + head) * args.head_dim
            finish_query(out, totals, query, args.head_dim)
            query, head = query + 1, head + 1
            if head == args.group:
                token, head = token + 1, 0
            if query == n_bundle:
                totals, query = totals + queries * args.state_size, 0

    return QueryFunctions(tile_of, gather, finish)


@cache
def segment_function(kind: CacheType) -> Callable[..., None]:
    """Make the function that attends to a segment, for the target and a type of cache.

    `attend_segment(args, span, tile, states, kv_head, segment, n, n_rows, few)`: the states of n queries, in
    n_rows rows, that have seen the segment and nothing else.
    """
    queries, (_, start, _, _) = queries_per_bundle(), state_functions()
    score, weigh, add_values = block_functions(queries)
    score_few, weigh_few, add_values_few = block_functions(FEW)
    add_own_values = own_values_function()
    key_row, value_row = slot_functions(kind)
    widen, few_read = widen_functions(kind)
    always_widens, line = kind.block_bytes > 0, CACHE_LINE // kind.element.size

    @called
    def prefetch_block(args, keys, values):
        for i in range(0, CACHE_BLOCK * key_row(args), line):
            prefetch(keys + i)
        for i in range(0, CACHE_BLOCK * value_row(args), line):
            prefetch(values + i)

    @called
    def add_own(args, tile, o, values, n, row, start, first, last):
        """Add the values of positions first .. last - 1 of a block to those of n queries that see them. Any
        other value may be NaN, which the weight 0 would not remove."""
        for i in range(n):
            own_first, own_last = _seen(tile.lowest[row + i], tile.highest[row + i], start)
            own_first, own_last = max(first, own_first), min(last, own_last)
            add_own_values(o, args.padded, tile.weights, values, i, own_first, own_last)

    @called
    def attend_block(args, tile, states, row, n, keys, values, start, few, ahead):
        """Take the block from position `start` on into the states of the bundle of n queries at `row`.
        `ahead`: how many slots after this block the one lies that is read next."""
        some_from, some_to, all_from, all_to = _extremes(tile, row, row + n)
        some_first, some_last = _seen(some_from, some_to, start)
        all_first, all_last = _seen(all_from, all_to, start)
        if some_first >= some_last:
            return
        if all_first >= all_last:
            all_first, all_last = some_last, some_last
        begin, end = some_first & -CACHE_LANES, (some_last + CACHE_LANES - 1) & -CACHE_LANES
        masked = begin < all_first or all_last < end
        if masked:
            for i in range(n):
                first, last = _seen(tile.lowest[row + i], tile.highest[row + i], start)
                tile.bounds[i], tile.bounds[queries + i] = first, last

        q, weights, state = tile.q + row * args.padded, tile.weights, states + row * args.state_size
        if few:
            score_few(weights, q, keys, args.head_dim, begin, end, ahead * key_row(args))
            weigh_few(state, args.state_size, weights, n, tile.bounds, begin, end, masked)
        else:
            score(weights, q, tile.keys, args.head_dim, begin, end, 0)
            weigh(state, args.state_size, weights, n, tile.bounds, begin, end, masked)
        o = state + HEAD * queries
        if some_first < all_first:
            add_own(args, tile, o, values, n, row, start, some_first, all_first)
        if few:
            add_values_few(o, args.padded, weights, values, all_first, all_last, ahead * value_row(args))
        else:
            add_values(o, args.padded, weights, tile.values, all_first, all_last, 0)
        if all_last < some_last:
            add_own(args, tile, o, values, n, row, start, all_last, some_last)

    @called
    def attend_segment(args, span, tile, states, kv_head, segment, n, n_rows, few, following):
        n_bundle = FEW if few else queries
        lowest, highest, _, _ = _extremes(tile, 0, n_rows)
        for row in range(0, n_rows, queries):
            start(states + row * args.state_size, args.state_size)
        for block in range(segment * SEGMENT, (segment + 1) * SEGMENT, CACHE_BLOCK):
            first, last = _seen(lowest, highest, block)
            if first == last:
                continue
            slot = kv_head * args.n_slots + slot_of(span.pages, block)
            next_block = block + following.shift
            ahead = 0
            if next_block <= following.last:
                ahead = following.first_slot + slot_of(following.pages, next_block) - slot
            keys, values = args.keys + slot * key_row(args), args.values + slot * value_row(args)
            if always_widens or not few:
                if ahead != 0:
                    prefetch_block(args, keys + ahead * key_row(args), values + ahead * value_row(args))
                    ahead = 0
                widen(args, tile, keys, values, first, last)
            few_keys, few_values = few_read(tile, keys, values)
            n_left = n
            for row in range(0, n_rows, queries):
                reads_cache = few or (n_left < queries and n_left <= FEW)
                n_now = min(n_left, n_bundle)
                attend_block(args, tile, states, row, n_now, few_keys, few_values, block, reads_cache, ahead)
                n_left -= n_bundle

    return attend_segment
