"""Scaled dot-product attention with grouped queries and an optional sliding window, in kernels.

The definition is `attention_reference`.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); grouped queries: Ainslie et al. 2023 (arXiv:2305.13245);
sliding window: Beltagy et al. 2020, "Longformer" (arXiv:2004.05150); chunks: Meta AI 2025, "Llama 4".
"""

from functools import cache

import numpy as np

from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.pointer import F32, I64
from ..language.record import Field, PointerTo, Record
from ..language.rows import buffer_arguments, buffer_fields, is_turn, share
from ..language.source import called
from .cache_type import CacheArray, CacheType
from .kv_cache import CACHE_BLOCK, PLACES, Numbers, cache_arguments, cache_fields, place_arguments
from .online_softmax import FEW
from .plain_scratch import (
    SEGMENT,
    SPLIT_QUERIES,
    TILE_QUERIES,
    AttentionScratch,
    check_scratch,
    seen_at_most,
    segments_touched,
    split_rows,
    state_size,
    tile_rows,
)
from .plain_tile import Following, end_of, query_functions, segment_function, span_of, start_of
from .softmax_state import queries_per_bundle, state_functions
from .visible import SIGHT, check_sight, sight_arguments

# How the work is cut up. A query here is one head of one token; the `group` heads that share a key head go
# together.
#
#     queries     bundle: `queries_per_bundle` of them, or FEW, side by side in registers
#                 tile: the bundles of up to TILE_QUERIES queries of one key head, which one thread works on
#     positions   block: CACHE_BLOCK of them, contiguous in the cache
#                 segment: SEGMENT of them, from a multiple of SEGMENT on
#
# A query goes through its positions in the order of the sequence, whatever the step. Each segment has a
# softmax state of its own, and the states are merged in order. So the bits of a query
# depend neither on the queries beside it nor on the threads. A step of few queries of one sequence is split
# over segments too: the threads leave their states in `partials`, and a second kernel puts them together;
# otherwise the first does all.

_ATTEND: dict[str, Field] = {
    "scratch": PointerTo(F32),  # a `Tile` for each thread
    "partials": PointerTo(F32),  # states (n_kv_heads, n_segments, split_rows) of a step that is split
    "ld_scratch": I64,  # numbers from one thread to the next
    "group": I64,  # query heads of a key head
    "tile_rows": I64,  # queries of the largest tile, in whole bundles
    "state_size": I64,  # numbers of a query's state
    "n_segments": I64,  # that `partials` has room for
    **SIGHT,
    "scale": F32,  # of the scores
}


def bind_attend(
    q: Array,
    keys: CacheArray,
    values: CacheArray,
    pages: Numbers,
    positions: Numbers,
    out: Array,
    spans: Count,
    scratch: AttentionScratch,
    n_heads: int,
    scale: float,
    window: int = 0,
    chunk: int = 0,
    is_causal: bool = True,
) -> tuple[Call, Call]:
    """Two calls, one after the other with a barrier between, that attend to a cache.

    q and out are buffers of width n_heads * head_dim. pages (n_seats, n) has the pages of each sequence's
    positions, n of which fill the longest; positions (n_max_tokens,) are those of the rows.
    `bind_cache_write` of this step comes before. If not `is_causal`, a query sees all up to its span's last
    row. Raises TypeError or ValueError for arrays that do not fit.
    """
    cache, places = cache_arguments(keys, values), place_arguments(pages, positions, spans)
    n_kv_heads, head_dim = cache["n_kv_heads"], cache["head_dim"]
    check_sight(n_heads, n_kv_heads, scale, window, chunk, is_causal)
    rows = buffer_arguments(spans, q=(q, n_heads * head_dim), out=(out, n_heads * head_dim))
    check_array("positions", positions, (len(q),), np.int64)
    n_seen = seen_at_most(pages.shape[1] * CACHE_BLOCK, window)
    check_scratch(scratch, n_heads, n_kv_heads, head_dim, n_seen)
    arguments = {
        **rows,
        **cache,
        **places,
        "scratch": scratch.per_thread,
        "partials": scratch.partials,
        "ld_scratch": scratch.per_thread.shape[1],
        "group": n_heads // n_kv_heads,
        "tile_rows": tile_rows(n_heads // n_kv_heads),
        "state_size": state_size(head_dim),
        "n_segments": segments_touched(n_seen),
        **sight_arguments(window, chunk, is_causal),
        "scale": scale,
    }
    attend, merge_segments = attend_kernels(keys.kind)
    return attend.bind(**arguments), merge_segments.bind(**arguments)


@called
def _segments(args, span, first, last):
    """The segments first .. last - 1 that the tokens first .. last - 1 of a span see something of."""
    lowest, highest = args.positions[first], args.positions[first]
    for token in range(first, last):
        lowest, highest = min(lowest, args.positions[token]), max(highest, args.positions[token])
    return start_of(args, lowest) // SEGMENT, end_of(args, span, highest) // SEGMENT + 1


@called
def _are_few(args, span):
    """Whether the queries of a span that share a key head are so few that they read the cache as it is."""
    return (span.last - span.first) * args.group <= SPLIT_QUERIES


@called
def _is_split(args, span):
    """Whether this step, if the span is its only one, is split over segments."""
    if args.spans[0] > 1 or not _are_few(args, span):
        return False
    first, last = _segments(args, span, span.first, span.last)
    return last - first <= args.n_segments


@called
def _following(args, span, number, item, n_before, thread_id, n_threads):
    """What comes after an item of a span with one row, if the next spans have one row, too."""
    following = item + 1
    while not is_turn(n_before + following, thread_id, n_threads):
        following += 1
    number += following // args.n_kv_heads
    if number >= args.spans[0] or args.spans[0] == 1 or span.last - span.first > 1:
        return Following(span.pages, 0, 0, -1)
    other = span_of(args, number)
    start, other_start = start_of(args, span.newest), start_of(args, other.newest)
    shift = max(other_start, 0) // CACHE_BLOCK * CACHE_BLOCK - max(start, 0) // CACHE_BLOCK * CACHE_BLOCK
    return Following(other.pages, following % args.n_kv_heads * args.n_slots, shift, other.newest)


@cache
def attend_kernels(kind: CacheType) -> tuple[Kernel, Kernel]:
    """The kernels for the target and a type of cache: one attends, the other merges the segments of a step
    that is split."""
    record = Record(**buffer_fields("q", "out"), **cache_fields(kind), **PLACES, **_ATTEND)
    queries, n_split_rows = queries_per_bundle(), split_rows()
    tile_of, gather, finish = query_functions()
    attend_segment, (_, start, merge, _) = segment_function(kind), state_functions()

    @kernel(record, f"attend_{kind.name}")
    def attend(args, thread_id, n_threads):
        group, size = args.group, args.state_size
        tile = tile_of(args, thread_id)
        tile_tokens = max(TILE_QUERIES // group, 1)
        n_before = 0  # items of the spans before
        for number in range(args.spans[0]):
            # An item of work: the queries of a tile of tokens for one key head, and one segment with a split,
            # else all.
            span = span_of(args, number)
            few, split = _are_few(args, span), _is_split(args, span)
            n_bundle = FEW if few else queries
            n_tiles = (span.last - span.first + tile_tokens - 1) // tile_tokens
            split_first, split_last = _segments(args, span, span.first, span.last) if split else (0, n_tiles)
            n_items = (split_last - split_first) * args.n_kv_heads
            for item in range(n_items):
                # Later tiles see more, so the threads take turns.
                if not is_turn(n_before + item, thread_id, n_threads):
                    continue
                kv_head, part = item % args.n_kv_heads, item // args.n_kv_heads
                first_token = span.first if split else span.first + part * tile_tokens
                last_token = min(first_token + tile_tokens, span.last)
                n = (last_token - first_token) * group
                n_rows = gather(args, span, tile, kv_head, first_token, n, n_bundle)
                then = _following(args, span, number, item, n_before, thread_id, n_threads)
                if split:
                    states = args.partials + (kv_head * args.n_segments + part) * n_split_rows * size
                    attend_segment(
                        args, span, tile, states, kv_head, split_first + part, n, n_rows, few, then
                    )
                else:
                    first, last = _segments(args, span, first_token, last_token)
                    attend_segment(args, span, tile, tile.totals, kv_head, first, n, n_rows, few, then)
                    for segment in range(first + 1, last):
                        attend_segment(args, span, tile, tile.states, kv_head, segment, n, n_rows, few, then)
                        for row in range(0, n_rows, queries):
                            merge(tile.totals + row * size, tile.states + row * size, size)
                    finish(args, tile.totals, kv_head, first_token * group, last_token * group, n_bundle)
            n_before += n_items

    @kernel(record, f"merge_segments_{kind.name}")
    def merge_segments(args, thread_id, n_threads):
        if args.spans[0] == 0:
            return
        span = span_of(args, 0)
        if not _is_split(args, span):
            return
        size, n = args.state_size, (span.last - span.first) * args.group
        totals = args.scratch + thread_id * args.ld_scratch
        first, last = _segments(args, span, span.first, span.last)
        n_bundles = (n + FEW - 1) // FEW
        first_item, last_item = share(args.n_kv_heads * n_bundles, thread_id, n_threads)
        for item in range(first_item, last_item):
            kv_head, bundle = item // n_bundles, item % n_bundles
            states = args.partials + (kv_head * args.n_segments * n_split_rows + bundle * queries) * size
            start(totals, size)
            for segment in range(last - first):
                merge(totals, states + segment * n_split_rows * size, size)
            finish(args, totals, kv_head, bundle * FEW, min(bundle * FEW + FEW, n), FEW)

    return attend, merge_segments
