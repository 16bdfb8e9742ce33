"""Scaled dot-product attention with grouped queries and an optional sliding window, in kernels.

The mathematics and the NumPy reference are in `attention_reference.py`.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); grouped queries: Ainslie et al. 2023 (arXiv:2305.13245);
sliding window: Beltagy et al. 2020, "Longformer" (arXiv:2004.05150); chunks: Meta AI 2025, "Llama 4".
"""

import numpy as np
from numpy.typing import NDArray

from .attention_reference import attention_reference as attention_reference
from .attention_reference import visible as visible
from .attention_scratch import (
    SEGMENT,
    SPLIT_QUERIES,
    TILE_QUERIES,
    check_scratch,
    segments_touched,
    state_size,
    tile_rows,
)
from .attention_scratch import AttentionScratch as AttentionScratch
from .attention_scratch import attention_scratch as attention_scratch
from .checks import check_array
from .kernel import Call, kernel
from .kv_cache import BLOCK, check_kv_cache
from .online_softmax import (
    HEAD,
    NO_CHUNK,
    QUERIES,
    attend_block,
    finish_state,
    first_seen,
    last_seen,
    merge_state,
    start_state,
)
from .pointer import F16, F32, I32, I64, cast
from .record import PointerTo, Record
from .rows import check_rows, share
from .simd import load, store
from .source import called

# The kernels work on the cache of `kv_cache.py`, position by position in the order of the sequence, whatever
# the step. Positions come in segments of SEGMENT, aligned to absolute positions; each has a softmax state of
# its own (`online_softmax.py`), and the states are merged in order. So the bits of a query depend neither on
# the queries beside it nor on the threads. A step of few queries is split over segments too: the threads
# leave their states in `partials`, and `_attend_merge` puts them together; otherwise `_attend` does all.

_ATTEND = Record(
    q=PointerTo(F32),
    keys=PointerTo(F16),
    values=PointerTo(F16),
    positions=PointerTo(I64),
    out=PointerTo(F32),
    step=PointerTo(I64),
    scratch=PointerTo(F32),
    partials=PointerTo(F32),
    ld_q=I64,
    ld_out=I64,
    ld_scratch=I64,
    n_kv_heads=I64,
    group=I64,
    tile_rows=I64,
    head_dim=I64,
    state_size=I64,
    n_slots=I64,
    n_segments=I64,
    window=I64,
    chunk=I64,
    is_causal=I64,
    scale=F32,
)


def bind_attend(
    q: NDArray[np.float32],
    keys: NDArray[np.float16],
    values: NDArray[np.float16],
    positions: NDArray[np.int64],
    out: NDArray[np.float32],
    step: NDArray[np.int64],
    scratch: AttentionScratch,
    n_heads: int,
    scale: float,
    window: int = 0,
    chunk: int = 0,
    is_causal: bool = True,
) -> tuple[Call, Call]:
    """Two calls, one after the other with a barrier between, that attend to a cache (`kv_cache.py`).

    q and out are buffers (`rows.py`) of width n_heads * head_dim; positions (n_max_tokens,) as in
    `bind_cache_write`, whose call for this step comes before. A query sees at most the last n_slots
    positions; if not `is_causal`, all up to the step's last. Raises TypeError or ValueError for arrays that
    do not fit.
    """
    n_kv_heads, head_dim, n_slots = check_kv_cache(keys, values)
    if n_heads < 1 or n_heads % n_kv_heads:
        raise ValueError(f"{n_heads} query heads cannot share {n_kv_heads} key heads evenly")
    if not 0 <= window <= n_slots:
        raise ValueError(f"window must be 0 (none) or at most the {n_slots} slots of the cache, not {window}")
    if chunk < 0:
        raise ValueError(f"chunk must be 0 (none) or more, not {chunk}")
    if chunk and not is_causal:
        raise ValueError("chunks are for causal attention")
    if not np.isfinite(scale):
        raise ValueError(f"scale must be finite, not {scale}")
    n_max_tokens, ld_q = check_rows(step, n_heads * head_dim, q=q)
    check_array("out", out, (n_max_tokens, None))
    _, ld_out = check_rows(step, n_heads * head_dim, out=out)
    check_array("positions", positions, (n_max_tokens,), np.int64)
    check_scratch(scratch, n_heads, n_kv_heads, head_dim, n_slots)
    arguments = {
        "q": q,
        "keys": keys,
        "values": values,
        "positions": positions,
        "out": out,
        "step": step,
        "scratch": scratch.per_thread,
        "partials": scratch.partials,
        "ld_q": ld_q,
        "ld_out": ld_out,
        "ld_scratch": scratch.per_thread.shape[1],
        "n_kv_heads": n_kv_heads,
        "group": n_heads // n_kv_heads,
        "tile_rows": tile_rows(n_heads // n_kv_heads),
        "head_dim": head_dim,
        "state_size": state_size(head_dim),
        "n_slots": n_slots,
        "n_segments": segments_touched(n_slots),
        "window": window or n_slots,
        "chunk": chunk or NO_CHUNK,
        "is_causal": int(is_causal),
        "scale": scale,
    }
    return _attend.bind(**arguments), _attend_merge.bind(**arguments)


@called
def _start(args, position):  # type: ignore[no-untyped-def]
    """The first position that the query at a position sees."""
    return first_seen(position, args.window, args.chunk)


@called
def _end(args, position):  # type: ignore[no-untyped-def]
    """The last position that the query at a position sees."""
    return last_seen(position, args.window, args.positions[args.step[0] - 1], args.is_causal)


@called
def _segments(args, first, last):  # type: ignore[no-untyped-def]
    """The segments first .. last - 1 that the tokens first .. last - 1 see something of."""
    lowest, highest = args.positions[first], args.positions[first]
    for token in range(first, last):
        lowest, highest = min(lowest, args.positions[token]), max(highest, args.positions[token])
    return _start(args, lowest) // SEGMENT, _end(args, highest) // SEGMENT + 1


@called
def _is_split(args):  # type: ignore[no-untyped-def]
    """Whether this step is split over segments."""
    n_tokens = args.step[0]
    if n_tokens == 0 or n_tokens * args.group > SPLIT_QUERIES:
        return False
    first, last = _segments(args, 0, n_tokens)
    return last - first <= args.n_segments


@called
def _gather(args, kv_head, first, last, q, positions, starts):  # type: ignore[no-untyped-def]
    """Gather the queries of tokens first .. last - 1 for a key head, scaled, with the positions up to which
    and from which on they see; return how many.

    The last bundle is filled up with zeros at the last position, whose results nobody reads.
    """
    n, d, width = 0, args.head_dim, args.group * args.head_dim
    whole = width - width % 8
    for token in range(first, last):
        row = args.q + token * args.ld_q + kv_head * width
        for i in range(0, whole, 8):
            store(q + n * d + i, load(row + i, 8) * args.scale)
        for i in range(whole, width):
            q[n * d + i] = row[i] * args.scale
        for _ in range(args.group):
            positions[n] = _end(args, args.positions[token])
            starts[n] = _start(args, args.positions[token])
            n += 1
    filled = (n + QUERIES - 1) // QUERIES * QUERIES
    for i in range(n * d, filled * d):
        q[i] = np.float32(0)
    for i in range(n, filled):
        positions[i], starts[i] = positions[n - 1], starts[n - 1]
    return n


@called
def _attend_segment(args, kv_head, segment, n, q, positions, starts, states, weights, bounds):  # type: ignore[no-untyped-def]
    """The states of n queries that have seen a segment and nothing else."""
    size, d = args.state_size, args.head_dim
    filled = (n + QUERIES - 1) // QUERIES * QUERIES
    for i in range(filled):
        start_state(states + i * size, size)
    for start in range(segment * SEGMENT, (segment + 1) * SEGMENT, BLOCK):
        slot = kv_head * args.n_slots + start % args.n_slots
        keys, values = args.keys + slot * d, args.values + slot * (size - HEAD)
        for i in range(0, filled, QUERIES):
            attend_block(
                q + i * d,
                states + i * size,
                size,
                keys,
                values,
                positions + i,
                starts + i,
                start,
                d,
                weights,
                bounds,
            )


@called
def _sees(first, last, segment):  # type: ignore[no-untyped-def]
    """Whether a query that sees the positions first .. last sees something of a segment."""
    start = segment * SEGMENT
    return start <= last and start + SEGMENT > first


@kernel(_ATTEND)
def _attend(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    size, d, group = args.state_size, args.head_dim, args.group
    weights = args.scratch + thread_id * args.ld_scratch
    bounds = cast(weights + QUERIES * BLOCK, I32)
    positions = cast(weights + QUERIES * (BLOCK + 2), I64)
    starts = positions + args.tile_rows
    q = weights + QUERIES * (BLOCK + 2) + 4 * args.tile_rows
    states = q + args.tile_rows * d
    totals = states + args.tile_rows * size
    n_tokens = args.step[0]

    # An item of work: the queries of a tile of tokens for one key head; one segment with a split, else all.
    split = _is_split(args)
    tile = max(TILE_QUERIES // group, 1)
    n_tiles = (n_tokens + tile - 1) // tile
    split_first, split_last = _segments(args, 0, n_tokens) if split else (0, n_tiles)
    for item in range((split_last - split_first) * args.n_kv_heads):
        # Later tiles see more: the threads take turns forwards, then backwards.
        turn = item % (2 * n_threads)
        if min(turn, 2 * n_threads - 1 - turn) != thread_id:
            continue
        kv_head, part = item % args.n_kv_heads, item // args.n_kv_heads
        first_token = 0 if split else part * tile
        last_token = min(first_token + tile, n_tokens)
        n = _gather(args, kv_head, first_token, last_token, q, positions, starts)
        if split:
            first, last = split_first + part, split_first + part + 1
            states = args.partials + (kv_head * args.n_segments + part) * SPLIT_QUERIES * size
        else:
            first, last = _segments(args, first_token, last_token)
            for i in range(n):
                start_state(totals + i * size, size)
        for segment in range(first, last):
            _attend_segment(args, kv_head, segment, n, q, positions, starts, states, weights, bounds)
            if not split:
                for i in range(n):
                    if _sees(starts[i], positions[i], segment):
                        merge_state(totals + i * size, states + i * size, size)
        if not split:
            for i in range(n):
                token, head = first_token + i // group, kv_head * group + i % group
                finish_state(args.out + token * args.ld_out + head * d, totals + i * size, d)


@kernel(_ATTEND)
def _attend_merge(args, thread_id, n_threads):  # type: ignore[no-untyped-def]
    if not _is_split(args):
        return
    size, d, group = args.state_size, args.head_dim, args.group
    total = args.scratch + thread_id * args.ld_scratch
    first, last = _segments(args, 0, args.step[0])
    n_heads = args.n_kv_heads * group
    first_query, last_query = share(args.step[0] * n_heads, thread_id, n_threads)
    for i in range(first_query, last_query):
        token, head = i // n_heads, i % n_heads
        row = head // group * args.n_segments * SPLIT_QUERIES + token * group + head % group
        start_state(total, size)
        position = args.positions[token]
        for segment in range(first, last):
            if _sees(_start(args, position), _end(args, position), segment):
                state = args.partials + (row + (segment - first) * SPLIT_QUERIES) * size
                merge_state(total, state, size)
        finish_state(args.out + token * args.ld_out + head * d, total, d)
