"""The steps that an `Attention` operation becomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .....kernels.attention.general import bind_general_attend, bind_general_write, general_scratch
from .....kernels.attention.kv_cache import bind_cache_write
from .....kernels.attention.plain import AttentionScratch, attention_scratch, bind_attend
from .....kernels.attention.prefetch import bind_cache_prefetch
from .....kernels.attention.reference import alibi_slopes
from ....plan import ops
from ..storage.caches import KVCache
from ..storage.memory import aligned_zeros
from ..storage.steps import Rows, Step


class Attention:
    """Lowers `Attention` operations for one sequence, or for several that have one token each in every step.

    `sequences[i][state]` is a cache; `positions` (n_max,) int64 are those of a step's tokens. The calls of
    different sequences touch different memory, so the threads do not wait for each other between them; and
    they take turns with the larger share, as few heads are seldom divided evenly.
    """

    def __init__(
        self, sequences: Sequence[Sequence[object]], positions: NDArray[np.int64], n_threads: int
    ) -> None:
        self._sequences = sequences
        self._positions = positions
        self._n_threads = n_threads
        self._one = aligned_zeros((8,), np.int64)
        self._one[0] = 1
        self._scratch: dict[tuple[int, ...], AttentionScratch] = {}
        self._general_scratch: dict[int, NDArray[np.float32]] = {}

    def steps(self, op: ops.Attention, x: list[NDArray], out: NDArray, rows: Rows) -> list[Step]:
        """All writes of new keys and values, then all that reads the caches, then all that merges; before it
        what asks for the caches of several sequences."""
        parts = []
        for i in range(len(self._sequences)):
            own = slice(None) if len(self._sequences) == 1 else slice(i, i + 1)
            count = rows.count if len(self._sequences) == 1 else self._one
            inputs = [part[own] for part in x]
            parts.append(self._one_sequence(op, i, inputs, out[own], self._positions[own], count))
        return [step for phase in zip(*parts, strict=True) for step in phase]

    def _one_sequence(
        self,
        op: ops.Attention,
        i: int,
        x: list[NDArray],
        out: NDArray,
        positions: NDArray[np.int64],
        count: NDArray[np.int64],
    ) -> tuple[Step, ...]:
        cache = self._sequences[i][op.state]
        if not isinstance(cache, KVCache):
            raise TypeError(f"state {op.state} of the plan does not hold keys and values")
        if not cache.spec.is_plain:
            return self._general(op, cache, x, out, positions, count)
        q, keys, values = x[0], cache.keys, cache.values
        sizes = (op.n_heads, op.n_kv_heads, op.head_dim, cache.n_slots, self._n_threads)
        if (i, *sizes) not in self._scratch:
            self._scratch[i, *sizes] = attention_scratch(*sizes)
        scratch = self._scratch[i, *sizes]
        window = min(op.window, cache.n_slots)  # a context shorter than the window needs no mask
        at = positions, out, count, scratch, op.n_heads, op.scale, window, op.chunk, op.is_causal
        attend, merge = bind_attend(q, keys, values, *at)
        steps = [
            Step(attend, (q, keys, values), (out, scratch.partials), turn=i),
            Step(merge, (scratch.partials,), (out,), turn=i),
        ]
        if op.k:
            write = bind_cache_write(x[1], x[2], keys, values, positions, count)
            steps.insert(0, Step(write, (x[1], x[2]), (keys, values), turn=i))
        if len(self._sequences) > 1:
            steps.insert(0, Step(bind_cache_prefetch(keys, values, positions, count), (), (), turn=i))
        return tuple(steps)

    def _general(
        self,
        op: ops.Attention,
        cache: KVCache,
        x: list[NDArray],
        out: NDArray,
        positions: NDArray[np.int64],
        count: NDArray[np.int64],
    ) -> tuple[Step, ...]:
        """For caps, ALiBi, sinks and narrow values; one scratch for all layers, of which only one runs."""
        q, *new = x
        keys, values = cache.keys, cache.values
        if cache.n_slots not in self._general_scratch:
            self._general_scratch[cache.n_slots] = general_scratch(cache.n_slots, self._n_threads)
        scratch = self._general_scratch[cache.n_slots]
        attend = bind_general_attend(
            q,
            keys,
            values,
            positions,
            out,
            count,
            scratch,
            op.n_heads,
            op.scale,
            min(op.window, cache.n_slots),
            op.soft_cap,
            alibi_slopes(op.n_heads, op.alibi_bias) if op.alibi_bias else None,
            op.sinks.dequantize() if op.sinks is not None else None,
            op.chunk,
            op.is_causal,
        )
        writes = [
            Step(bind_general_write(rows, part, positions, count), (rows,), (part,))
            for rows, part in zip(new, (keys, values), strict=False)
        ]
        return *writes, Step(attend, (q, keys, values), (out, scratch))
