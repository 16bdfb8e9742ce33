"""Attention -> kernel calls.

The calls of different sequences touch different memory, so the threads do not wait for each other between
them; and they take turns with the larger share, as few heads are seldom divided evenly.
"""

from __future__ import annotations

from .....kernels.attention.general import bind_general_attend, bind_general_write, general_scratch
from .....kernels.attention.kv_cache import bind_cache_write
from .....kernels.attention.plain import bind_attend
from .....kernels.attention.plain_scratch import attention_scratch
from .....kernels.attention.prefetch import bind_cache_prefetch
from .....kernels.language.checks import Array
from ....plan import ops
from ...attention_probs import score_arguments
from ..storage.caches import KVCache
from ..storage.steps import Step
from .registry import lowers
from .where import SequencePart, Where


@lowers(ops.Attention)
def _attention(op: ops.Attention, x: list[Array], out: Array, where: Where) -> list[Step]:
    """All writes of new keys and values, then all that reads the caches, then all that merges; before them
    what asks for the caches of several sequences."""
    parts = []
    for own in where.sequence_parts(op.state, KVCache):
        steps = _plain if own.cache.is_plain else _general
        parts.append(steps(op, [part[own.rows] for part in x], out[own.rows], where, own))
    return [step for phase in zip(*parts, strict=True) for step in phase]


def _plain(
    op: ops.Attention, x: list[Array], out: Array, where: Where, own: SequencePart[KVCache]
) -> list[Step]:
    """For what has nothing but a scale, a window and chunks; each sequence has a scratch of its own."""
    cache, turn, positions = own.cache, own.number, where.tokens.positions[own.rows]
    sizes = op.n_heads, op.n_kv_heads, op.head_dim, cache.n_slots, where.n_threads
    scratch = where.once(attention_scratch, *sizes, owner=turn)
    attend, merge = bind_attend(
        x[0],
        cache.keys,
        cache.values,
        positions,
        out,
        own.count,
        scratch,
        n_heads=op.n_heads,
        scale=op.scale,
        window=min(op.window, cache.n_slots),  # a context shorter than the window needs no mask
        chunk=op.chunk,
        is_causal=op.is_causal,
    )
    steps = []
    if len(where.sequences) > 1:
        prefetch = bind_cache_prefetch(cache.keys, cache.values, positions, own.count)
        steps.append(Step(prefetch, (), (), turn=turn))
    if op.k:
        write = bind_cache_write(x[1], x[2], cache.keys, cache.values, positions, own.count)
        steps.append(Step(write, (x[1], x[2]), (cache.keys, cache.values), turn=turn))
    return [
        *steps,
        Step(attend, (x[0], cache.keys, cache.values), (out, scratch.partials), turn=turn),
        Step(merge, (scratch.partials,), (out,), turn=turn),
    ]


def _general(
    op: ops.Attention, x: list[Array], out: Array, where: Where, own: SequencePart[KVCache]
) -> list[Step]:
    """For caps, ALiBi, sinks and narrow values; one scratch for all layers, of which only one runs."""
    q, *new = x
    cache, positions = own.cache, where.tokens.positions[own.rows]
    scratch = where.once(general_scratch, cache.n_slots, where.n_threads)
    attend = bind_general_attend(
        q,
        cache.keys,
        cache.values,
        positions,
        out,
        own.count,
        scratch,
        n_heads=op.n_heads,
        scale=op.scale,
        window=min(op.window, cache.n_slots),
        **score_arguments(op, None if op.sinks is None else op.sinks.dequantize()),
    )
    writes = [
        Step(bind_general_write(rows, part, positions, own.count), (rows,), (part,))
        for rows, part in zip(new, (cache.keys, cache.values), strict=False)
    ]
    return [*writes, Step(attend, (q, cache.keys, cache.values), (out, scratch))]
