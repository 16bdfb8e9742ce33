"""Attention -> kernel calls: a call of each kind for all sequences of a step."""

from __future__ import annotations

from .....kernels.attention.general import bind_general_attend, general_scratch
from .....kernels.attention.general_cache import bind_general_write
from .....kernels.attention.kv_cache import CACHE_BLOCK, bind_cache_write
from .....kernels.attention.plain import bind_attend
from .....kernels.attention.plain_scratch import attention_scratch, seen_at_most
from .....kernels.language.checks import Array
from ....plan import ops
from ...attention_probs import score_arguments
from ..storage.caches import KVCache
from ..storage.steps import Step
from .registry import lowers
from .where import Where


@lowers(ops.Attention)
def _attention(op: ops.Attention, x: list[Array], out: Array, where: Where) -> list[Step]:
    """Writes of new keys and values, then what reads the caches."""
    cache = where.state(op.state, KVCache)
    return (_plain if cache.is_plain else _general)(op, x, out, where, cache)


def _plain(op: ops.Attention, x: list[Array], out: Array, where: Where, cache: KVCache) -> list[Step]:
    """For what has nothing but a scale, a window and chunks."""
    tokens, (keys, values), table = where.tokens, (cache.keys, cache.values), cache.pages.table
    n_seen = seen_at_most(table.shape[1] * CACHE_BLOCK, op.window)
    sizes = op.n_heads, op.n_kv_heads, op.head_dim, n_seen, where.n_threads
    scratch = where.once(attention_scratch, *sizes)
    attend, merge = bind_attend(
        x[0],
        keys,
        values,
        table,
        tokens.positions,
        out,
        tokens.spans,
        scratch,
        n_heads=op.n_heads,
        scale=op.scale,
        window=op.window,
        chunk=op.chunk,
        is_causal=op.is_causal,
    )
    steps = []
    if op.k:
        slots = tokens.slots[cache.pages.window]
        write = bind_cache_write(x[1], x[2], keys, values, slots, where.count)
        steps.append(Step(write, (x[1], x[2]), (keys.array, values.array)))
    return [
        *steps,
        Step(attend, (x[0], keys.array, values.array), (out, scratch.partials)),
        Step(merge, (scratch.partials,), (out,)),
    ]


def _general(op: ops.Attention, x: list[Array], out: Array, where: Where, cache: KVCache) -> list[Step]:
    """For caps, ALiBi, sinks and narrow values; one scratch for all layers, of which only one runs."""
    (q, *new), tokens, table = x, where.tokens, cache.pages.table
    scratch = where.once(general_scratch, table.shape[1] * CACHE_BLOCK, where.n_threads)
    attend = bind_general_attend(
        q,
        cache.keys,
        cache.values,
        table,
        tokens.positions,
        out,
        tokens.spans,
        scratch,
        n_heads=op.n_heads,
        scale=op.scale,
        window=op.window,
        **score_arguments(op, None if op.sinks is None else op.sinks.dequantize()),
    )
    slots = tokens.slots[cache.pages.window]
    writes = [
        Step(bind_general_write(rows, part, slots, where.count), (rows,), (part.array,))
        for rows, part in zip(new, (cache.keys, cache.values), strict=False)
    ]
    return [*writes, Step(attend, (q, cache.keys.array, cache.values.array), (out, scratch))]
