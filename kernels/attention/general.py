"""Attention with what only some models have: soft caps, ALiBi, sinks, values narrower than keys.

The definition is `attention_reference`. Most models have plain attention, for which there are faster kernels.
A cache has `n_slots` slots, a multiple of CACHE_BLOCK, and sequences have pages of it as in `kv_cache.py`:

    keys    (n_kv_heads, n_slots, head_dim) float16
    values  (n_kv_heads, n_slots, value_dim) float16

A query goes through the positions that it sees in order: scores, softmax, weighted sum. Its bits depend
neither on the queries beside it nor on the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..jit.kernel import Call, kernel
from ..language.checks import Array, Count, Halves, check_array
from ..language.exponential import exp
from ..language.pointer import F16, F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import LANES, buffer_arguments, buffer_fields, check_rows, share
from ..language.simd import (
    fma,
    load,
    maximum,
    minimum,
    reduce_add,
    reduce_max,
    splat,
    store,
    to_f16,
    to_f32,
)
from ..language.source import called
from ..language.spans import span_at
from .kv_cache import CACHE_BLOCK, PLACES, Numbers, place_arguments, slot_of
from .visible import NO_CHUNK, check_sight, first_seen, last_seen

LOWEST = -3.0e38  # the score of a sink if there is none


def allocate_general_cache(
    n_kv_heads: int, head_dim: int, value_dim: int, n_slots: int
) -> tuple[Halves, Halves]:
    """keys and values, zeroed."""
    if min(n_kv_heads, head_dim, value_dim, n_slots) < 1 or n_slots % CACHE_BLOCK:
        raise ValueError(f"no cache has {n_kv_heads} heads of {head_dim} and {value_dim} in {n_slots} slots")
    keys = np.zeros((n_kv_heads, n_slots, head_dim), np.float16)
    return keys, np.zeros((n_kv_heads, n_slots, value_dim), np.float16)


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


def bind_general_write(rows: Array, cache: Halves, slots: Numbers, n_tokens: Count) -> Call:
    """Write the rows of k or v, a buffer, rounded to float16, into their slots.

    Raises TypeError or ValueError for arrays that do not fit.
    """
    check_array("cache", cache, (None, None, None), np.float16)
    n_kv_heads, n_slots, width = cache.shape
    n_max_tokens, ld = check_rows(n_tokens, n_kv_heads * width, rows=rows)
    check_array("slots", slots, (n_max_tokens,), np.int64)
    return _general_write.bind(
        rows=rows,
        cache=cache,
        slots=slots,
        n_tokens=n_tokens,
        ld=ld,
        n_kv_heads=n_kv_heads,
        n_slots=n_slots,
        width=width,
    )


def bind_general_attend(
    q: Array,
    keys: Halves,
    values: Halves,
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
    check_array("keys", keys, (None, None, None), np.float16)
    n_kv_heads, n_slots, head_dim = keys.shape
    check_array("values", values, (n_kv_heads, n_slots, None), np.float16)
    value_dim = values.shape[2]
    places = place_arguments(pages, positions, spans)
    check_sight(n_heads, n_kv_heads, scale, window, chunk, is_causal)
    rows = buffer_arguments(spans, q=(q, n_heads * head_dim), out=(out, n_heads * value_dim))
    check_array("positions", positions, (len(q),), np.int64)
    check_array("scratch", scratch, (None, pages.shape[1] * CACHE_BLOCK))
    return _general_attend.bind(
        **rows,
        **places,
        **head_biases(n_heads, slopes, sinks),
        keys=keys,
        values=values,
        scratch=scratch,
        ld_scratch=scratch.shape[1],
        n_heads=n_heads,
        group=n_heads // n_kv_heads,
        head_dim=head_dim,
        value_dim=value_dim,
        n_slots=n_slots,
        window=window or NO_CHUNK,
        chunk=chunk or NO_CHUNK,
        is_causal=int(is_causal),
        scale=scale,
        soft_cap=soft_cap,
    )


@kernel(
    Record(
        rows=PointerTo(F32),
        cache=PointerTo(F16),
        slots=PointerTo(I64),
        n_tokens=PointerTo(I64),
        ld=I64,
        n_kv_heads=I64,
        n_slots=I64,
        width=I64,
    )
)
def _general_write(args, thread_id, n_threads):
    whole = args.width - args.width % LANES
    first, last = share(args.n_tokens[0] * args.n_kv_heads, thread_id, n_threads)
    for i in range(first, last):
        token, head = i // args.n_kv_heads, i % args.n_kv_heads
        row = args.rows + token * args.ld + head * args.width
        slot = args.cache + (head * args.n_slots + args.slots[token]) * args.width
        for j in range(0, whole, LANES):
            store(slot + j, to_f16(load(row + j, LANES)))
        for j in range(whole, args.width):
            store(slot + j, to_f16(load(row + j, 1)))


@called
def weigh(args, pages, head, q, position, start, n, scores):
    """Write the softmax weights of the n positions from `start` on, which lie in `pages`, for the query at
    `position`, before normalization -> the factor that normalizes them, in every lane."""
    d, whole = args.head_dim, args.head_dim - args.head_dim % LANES
    keys = args.keys + head // args.group * args.n_slots * d
    padded = (n + LANES - 1) // LANES * LANES
    for p in range(n):
        key = keys + slot_of(pages, start + p) * d
        product = splat(0.0, F32, LANES)
        for i in range(0, whole, LANES):
            product = fma(load(q + i, LANES), to_f32(load(key + i, LANES)), product)
        rest = splat(0.0, F32, 1)
        for i in range(whole, d):
            rest = fma(load(q + i, 1), to_f32(load(key + i, 1)), rest)
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


def _gather(n_columns: int) -> Callable[..., Any]:
    """Make the function that weights and sums n_columns of the values at the n positions from `start` on."""

    @called
    def gather(args, pages, head, i, start, n, weights):
        values = args.values + head // args.group * args.n_slots * args.value_dim + i
        mixed = splat(0.0, F32, n_columns)
        for p in range(n):
            value = values + slot_of(pages, start + p) * args.value_dim
            mixed = fma(to_f32(load(value, n_columns)), weights[p], mixed)
        return mixed

    return gather


gather, gather_one = _gather(LANES), _gather(1)


@kernel(
    Record(
        **buffer_fields("q", "out"),
        **PLACES,
        keys=PointerTo(F16),
        values=PointerTo(F16),
        scratch=PointerTo(F32),
        slopes=PointerTo(F32),
        sinks=PointerTo(F32),
        ld_scratch=I64,
        n_heads=I64,
        group=I64,
        head_dim=I64,
        value_dim=I64,
        n_slots=I64,
        window=I64,
        chunk=I64,
        is_causal=I64,
        scale=F32,
        soft_cap=F32,
    )
)
def _general_attend(args, thread_id, n_threads):
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
