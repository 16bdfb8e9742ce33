"""Attention probabilities, and the outputs of heads for given ones: for people who look at them or change
them.

The definitions are `attention_probs_reference` and `gather_reference`; attention itself never holds a whole
row of probabilities. Keys and values are float32, as they are read from a cache of any type, of all positions
one after the other. A row's bits depend neither on the rows beside it nor on the size of the step. One thread
does all.
"""

from __future__ import annotations

import numpy as np

from ..jit.kernel import kernel
from ..language.checks import Array, check_array
from ..language.pointer import F32, I64
from ..language.record import PointerTo, Record
from ..language.rows import LANES
from ..language.simd import load, store
from ..language.source import inlined
from .cache_type import CACHE_F32
from .general import general_functions, general_scratch, head_biases
from .kv_cache import Numbers, page_table
from .visible import SIGHT, first_seen, last_seen, sight_arguments

weigh, gather, gather_one = general_functions(CACHE_F32)


def attention_probs(
    q: Array,
    keys: Array,
    positions: Numbers,
    scale: float,
    window: int = 0,
    *,
    chunk: int = 0,
    soft_cap: float = 0.0,
    slopes: Array | None = None,
    sinks: Array | None = None,
    is_causal: bool = True,
) -> Array:
    """q (n, n_heads, d) of tokens at positions (n,), one after the other; keys (n_kv_heads, m or more, d), of
    theirs as well -> (n, n_heads, m) float32, m the last position + 1."""
    check_array("q", q, (None, None, None))
    n, n_heads, head_dim = q.shape
    check_array("keys", keys, (None, None, head_dim))
    check_array("positions", positions, (n,), np.int64)
    m = int(positions[-1]) + 1 if n else 0
    if n == 0 or n_heads % keys.shape[0] or m > keys.shape[1]:
        raise ValueError(f"queries {q.shape} of {m} positions do not fit keys {keys.shape}")
    scratch = general_scratch(m, 1)
    probs = np.zeros((n, n_heads, m), np.float32)
    _attention_probs.bind(
        q=np.ascontiguousarray(q),
        keys=keys,
        pages=page_table(m)[0],
        positions=positions,
        probs=probs,
        scratch=scratch,
        **head_biases(n_heads, slopes, sinks),
        n_tokens=n,
        n_keys=m,
        n_heads=n_heads,
        group=n_heads // keys.shape[0],
        head_dim=head_dim,
        n_slots=keys.shape[1],
        **sight_arguments(window, chunk, is_causal),
        scale=scale,
        soft_cap=soft_cap,
    ).run()
    return probs


def gather_by_probs(
    probs: Array,
    values: Array,
    positions: Numbers,
    window: int = 0,
    chunk: int = 0,
    is_causal: bool = True,
) -> Array:
    """probs (n, n_heads, m) as `attention_probs` gives them, 0 where a query sees nothing; values
    (n_kv_heads, m or more, dv) -> (n, n_heads, dv) float32."""
    check_array("probs", probs, (None, None, None))
    n, n_heads, m = probs.shape
    check_array("values", values, (None, None, None))
    n_kv_heads, n_slots, value_dim = values.shape
    check_array("positions", positions, (n,), np.int64)
    if n == 0 or positions.max() >= m or n_heads % n_kv_heads or m > n_slots:
        raise ValueError(f"probabilities {probs.shape} do not fit values {values.shape}")
    out = np.empty((n, n_heads, value_dim), np.float32)
    _gather_by_probs.bind(
        probs=probs,
        values=values,
        pages=page_table(m)[0],
        positions=positions,
        out=out,
        n_tokens=n,
        n_keys=m,
        n_heads=n_heads,
        group=n_heads // n_kv_heads,
        value_dim=value_dim,
        n_slots=n_slots,
        **sight_arguments(window, chunk, is_causal),
    ).run()
    return out


@inlined
def _seen(args, position):
    """The first position that the query at `position` sees, and how many."""
    start = first_seen(position, args.window, args.chunk)
    return start, last_seen(position, args.window, args.n_keys - 1, args.is_causal) + 1 - start


@kernel(
    Record(
        q=PointerTo(F32),
        keys=PointerTo(F32),
        pages=PointerTo(I64),
        positions=PointerTo(I64),
        probs=PointerTo(F32),
        scratch=PointerTo(F32),
        slopes=PointerTo(F32),
        sinks=PointerTo(F32),
        n_tokens=I64,
        n_keys=I64,
        n_heads=I64,
        group=I64,
        head_dim=I64,
        n_slots=I64,
        **SIGHT,
        scale=F32,
        soft_cap=F32,
    )
)
def _attention_probs(args, thread_id, n_threads):
    for item in range(args.n_tokens * args.n_heads):
        head, position = item % args.n_heads, args.positions[item // args.n_heads]
        start, n = _seen(args, position)
        q = args.q + item * args.head_dim
        inverse = weigh(args, args.pages, head, q, position, start, n, args.scratch)
        for p in range(0, n, LANES):
            store(args.scratch + p, load(args.scratch + p, LANES) * inverse)
        row = args.probs + item * args.n_keys + start
        for p in range(n):
            row[p] = args.scratch[p]


@kernel(
    Record(
        probs=PointerTo(F32),
        values=PointerTo(F32),
        pages=PointerTo(I64),
        positions=PointerTo(I64),
        out=PointerTo(F32),
        n_tokens=I64,
        n_keys=I64,
        n_heads=I64,
        group=I64,
        value_dim=I64,
        n_slots=I64,
        **SIGHT,
    )
)
def _gather_by_probs(args, thread_id, n_threads):
    whole = args.value_dim - args.value_dim % LANES
    for item in range(args.n_tokens * args.n_heads):
        head, position = item % args.n_heads, args.positions[item // args.n_heads]
        start, n = _seen(args, position)
        row = args.probs + item * args.n_keys + start
        for i in range(0, whole, LANES):
            mixed = gather(args, args.pages, head, i, start, n, row)
            store(args.out + item * args.value_dim + i, mixed)
        for i in range(whole, args.value_dim):
            store(args.out + item * args.value_dim + i, gather_one(args, args.pages, head, i, start, n, row))
