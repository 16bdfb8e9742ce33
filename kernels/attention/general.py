"""Attention with what only some models have: soft caps, ALiBi, sinks, values narrower than keys.

The definition is `attention_reference`. Most models have plain attention, for which there are faster kernels.
The cache is that of `general_cache.py`.

A query goes through the positions that it sees in order: scores, softmax, weighted sum. Its bits depend
neither on the queries beside it nor on the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, Count, check_array
from ..language.exponential import exp
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import LANES, buffer_arguments, buffer_fields, share
from ..language.simd import (
    fma,
    load,
    maximum,
    minimum,
    reduce_add,
    reduce_max,
    splat,
    store,
)
from ..language.source import called
from ..language.spans import span_at
from .cache_rows import Reader, row_functions, row_size_function
from .cache_type import CacheArray, CacheType
from .general_cache import check_rows_of_slots
from .kv_cache import CACHE_BLOCK, PLACES, Numbers, place_arguments, slot_of
from .visible import SIGHT, check_sight, first_seen, last_seen, sight_arguments

LOWEST = -3.0e38  # the score of a sink if there is none


def general_scratch(n_positions: int, n_threads: int) -> Array:
    """Working memory of the threads: a score for each position."""
    return np.zeros((n_threads, -(-n_positions // LANES) * LANES), np.float32)


def head_biases(n_heads: int, slopes: Array | None, sinks: Array | None) -> dict[str, Array]:
    """The arguments `slopes` and `sinks`, (n_heads,) each, of which None stands for those without effect.
    Raises TypeError or ValueError for arrays that do not fit."""
    slopes = np.zeros(n_heads, np.float32) if slopes is None else slopes
    sinks = np.full(n_heads, LOWEST, np.float32) if sinks is None else sinks
    check_array("slopes", slopes, (n_heads,))
    check_array("sinks", sinks, (n_heads,))
    return {"slopes": slopes, "sinks": sinks}


def bind_general_attend(
    q: Array,
    keys: CacheArray,
    values: CacheArray,
    pages: Numbers,
    positions: Numbers,
    out: Array,
    spans: Count,
    scratch: Array,
    n_heads: int,
    scale: float,
    window: int = 0,
    soft_cap: float = 0.0,
    slopes: Array | None = None,
    sinks: Array | None = None,
    chunk: int = 0,
    is_causal: bool = True,
) -> Call:
    """Attend to a cache; q and out are buffers of n_heads times head_dim and value_dim columns.

    pages, positions and spans are those of `bind_attend`; slopes and sinks are (n_heads,). If not
    `is_causal`, each token sees all up to its span's last row. Raises TypeError or ValueError for arrays that
    do not fit.
    """
    n_kv_heads, n_slots = check_rows_of_slots("keys", keys)
    if check_rows_of_slots("values", values) != (n_kv_heads, n_slots) or values.kind != keys.kind:
        raise ValueError(f"values {values.array.shape} {values.kind.name} do not fit keys {keys.array.shape}")
    head_dim, value_dim = keys.width, values.width
    places = place_arguments(pages, positions, spans)
    check_sight(n_heads, n_kv_heads, scale, window, chunk, is_causal)
    rows = buffer_arguments(spans, q=(q, n_heads * head_dim), out=(out, n_heads * value_dim))
    check_array("positions", positions, (len(q),), np.int64)
    check_array("scratch", scratch, (None, pages.shape[1] * CACHE_BLOCK))
    return general_attend_kernel(keys.kind).bind(
        **rows,
        **places,
        **head_biases(n_heads, slopes, sinks),
        keys=keys.array,
        values=values.array,
        scratch=scratch,
        ld_scratch=scratch.shape[1],
        n_heads=n_heads,
        group=n_heads // n_kv_heads,
        head_dim=head_dim,
        value_dim=value_dim,
        n_slots=n_slots,
        **sight_arguments(window, chunk, is_causal),
        scale=scale,
        soft_cap=soft_cap,
    )


class GeneralFunctions(NamedTuple):
    """Functions for kernels over a record with keys, values, group, n_slots and sizes of heads.

    `weigh(args, pages, head, q, position, start, n, scores)` writes the softmax weights of the n positions
    from `start` on, which lie in `pages`, for the query at `position`, before normalization -> the factor
    that normalizes them, in every lane. `gather(args, pages, head, i, start, n, weights)` -> the weighted sum
    of LANES values from i on, `gather_one` of a single one.
    """

    weigh: Callable[..., Any]
    gather: Callable[..., Any]
    gather_one: Callable[..., Any]


@cache
def general_functions(kind: CacheType) -> GeneralFunctions:
    """Make the functions for a type."""
    read, read_one = row_functions(kind)[1:]
    return GeneralFunctions(_weigh(kind), _gather(kind, read, LANES), _gather(kind, read_one, 1))


def _weigh(kind: CacheType) -> Callable[..., Any]:
    (_, read, read_one), row = row_functions(kind), row_size_function(kind)

    @called
    def weigh(args, pages, head, q, position, start, n, scores):
        d, whole = args.head_dim, args.head_dim - args.head_dim % LANES
        padded = (n + LANES - 1) // LANES * LANES
        keys = args.keys + head // args.group * args.n_slots * row(d)
        for p in range(n):
            key = keys + slot_of(pages, start + p) * row(d)
            product = splat(0.0, F32, LANES)
            for i in range(0, whole, LANES):
                product = fma(load(q + i, LANES), read(key, i), product)
            rest = splat(0.0, F32, 1)
            for i in range(whole, d):
                rest = fma(load(q + i, 1), read_one(key, i), rest)
            scores[p] = (reduce_add(product) + reduce_add(rest)) * args.scale
        for p in range(n, padded):
            scores[p] = LOWEST
        if args.soft_cap > 0:
            for p in range(0, padded, LANES):
                u = maximum(-15.0, minimum(15.0, load(scores + p, LANES) / args.soft_cap))
                e = exp(u * -2.0)
                store(scores + p, (1.0 - e) / (e + 1.0) * args.soft_cap)
            for p in range(n, padded):
                scores[p] = LOWEST
        for p in range(n):
            scores[p] -= args.slopes[head] * np.float32(abs(position - start - p))

        highest = splat(args.sinks[head], F32, LANES)
        for p in range(0, padded, LANES):
            highest = maximum(highest, load(scores + p, LANES))
        m = splat(reduce_max(highest), F32, LANES)
        total = splat(0.0, F32, LANES)
        for p in range(0, padded, LANES):
            weight = exp(load(scores + p, LANES) - m)
            store(scores + p, weight)
            total = total + weight
        sink = exp(splat(args.sinks[head], F32, LANES) - m)
        return 1.0 / (splat(reduce_add(total), F32, LANES) + sink)

    return weigh


def _gather(kind: CacheType, read: Reader, n_columns: int) -> Callable[..., Any]:
    row = row_size_function(kind)

    @called
    def gather(args, pages, head, i, start, n, weights):
        values = args.values + head // args.group * args.n_slots * row(args.value_dim)
        mixed = splat(0.0, F32, n_columns)
        for p in range(n):
            value = values + slot_of(pages, start + p) * row(args.value_dim)
            mixed = fma(read(value, i), weights[p], mixed)
        return mixed

    return gather


@cache
def general_attend_kernel(kind: CacheType) -> Kernel:
    """The kernel that attends to a cache of a type."""
    weigh, gather, gather_one = general_functions(kind)

    @kernel(
        Record(
            **buffer_fields("q", "out"),
            **PLACES,
            keys=PointerTo(kind.element),
            values=PointerTo(kind.element),
            scratch=PointerTo(F32),
            slopes=PointerTo(F32),
            sinks=PointerTo(F32),
            ld_scratch=I64,
            n_heads=I64,
            group=I64,
            head_dim=I64,
            value_dim=I64,
            n_slots=I64,
            **SIGHT,
            scale=F32,
            soft_cap=F32,
        ),
        f"general_attend_{kind.name}",
    )
    def general_attend(args, thread_id, n_threads):
        d, dv, whole = args.head_dim, args.value_dim, args.value_dim - args.value_dim % LANES
        scores = args.scratch + thread_id * args.ld_scratch
        for number in range(args.spans[0]):
            first_token, last_token, seat = span_at(args.spans, number)
            pages, newest = args.pages + seat * args.ld_pages, args.positions[last_token - 1]
            first, last = share((last_token - first_token) * args.n_heads, thread_id, n_threads)
            for item in range(first, last):
                token, head = first_token + item // args.n_heads, item % args.n_heads
                position = args.positions[token]
                start = first_seen(position, args.window, args.chunk)
                n = last_seen(position, args.window, newest, args.is_causal) + 1 - start
                q = args.q + token * args.ld_q + head * d
                inverse = weigh(args, pages, head, q, position, start, n, scores)
                out = args.out + token * args.ld_out + head * dv
                for i in range(0, whole, LANES):
                    store(out + i, gather(args, pages, head, i, start, n, scores) * inverse)
                for i in range(whole, dv):
                    store(out + i, gather_one(args, pages, head, i, start, n, scores) * reduce_max(inverse))

    return general_attend
