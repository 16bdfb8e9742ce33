"""The fast executor: the plan as one program of compiled kernels, run by a team of threads.

Built once: weights are packed, buffers are given memory, each operation becomes kernel calls (`program.py`). A step then
writes the embeddings, positions and angles of its tokens and runs the program; no memory is allocated but for the logits. The
part behind `SelectRows` (final norm and head) runs for a few of the wanted rows at a time, since logits are wide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.dequantize import dequantize
from ..kernels.attention import AttentionScratch, attention_scratch, bind_attend
from ..kernels.kv_cache import allocate_kv_cache, bind_cache_write, n_slots_for
from ..kernels.object_cache import compile_log
from ..kernels.rope import rope_angles
from . import ops
from .hyperparameters import Config
from .memory import aligned_zeros
from .plan import Plan
from .program import ProgramBuilder, Rows, Step, meeting_points
from .states import KVSpec
from .team import Program, Team

ROWS_AT_ONCE = 32
MACS_PER_SLICE = 4e9
"""Some 20 ms of work: between slices Python sees a Ctrl-C."""


class KVCache:
    """The float16 keys and values of a layer. A sliding window keeps them in a ring, long enough for a whole step."""

    def __init__(self, spec: KVSpec, n_ctx: int, n_batch: int) -> None:
        needed = min(n_ctx, spec.window + n_batch) if spec.window else n_ctx
        self.spec = spec
        self.n_slots = n_slots_for(needed)
        self.keys, self.values = allocate_kv_cache(spec.n_kv_heads, spec.head_dim, self.n_slots)

    def can_truncate(self, n_before: int, n_after: int) -> bool:
        """Can a cache that holds the last of `n_before` positions go back to `n_after`?"""
        oldest = max(0, n_before - self.n_slots)
        oldest_seen = max(0, n_after - self.spec.window + 1) if self.spec.window else 0
        return n_after == 0 or (0 < n_after <= n_before and oldest <= oldest_seen)


class NumbaExecutor:
    """Runs one sequence; see `executor.Executor`. `n_batch`: how many tokens a step takes at the most."""

    def __init__(self, plan: Plan, config: Config, n_ctx: int, n_threads: int, n_batch: int = 512) -> None:
        compiled_before = compile_log.seconds
        self._plan = plan
        self._n_ctx = n_ctx
        self._n_vocab = config.n_vocab
        self._n_batch = min(n_batch, n_ctx)
        self._n_positions = 0
        self._positions = aligned_zeros((self._n_batch,), np.int64)
        self._states = [KVCache(spec, n_ctx, self._n_batch) for spec in plan.states]
        self._scratch: dict[tuple[int, ...], AttentionScratch] = {}
        self._n_threads = n_threads
        self._program = ProgramBuilder(plan, self._n_batch, ROWS_AT_ONCE, n_threads, self._attention)
        steps = self._program.steps
        self._macs = np.cumsum([0] + [step.macs_per_token for step in steps])
        self._team = Team(Program([step.call for step in steps], meeting_points(steps)), n_threads)
        self.compile_seconds = compile_log.seconds - compiled_before

    @property
    def weight_bytes_per_token(self) -> int:
        """Bytes of weights that one token's decoding reads: every packed matrix once."""
        return sum(matrix.nbytes for matrix in self._program.matrices.values())

    def forward(self, ids: NDArray[np.int32], start: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """ids (n,) at the positions from `start` on, rows (m,) of them -> logits (m, n_vocab)."""
        if start != self._n_positions:
            raise ValueError(
                f"the state holds {self._n_positions} positions, so position {start} cannot be next"
            )
        if start + len(ids) > self._n_ctx:
            raise ValueError(f"{start} + {len(ids)} positions are more than the {self._n_ctx} of the context")
        logits = np.empty((len(rows), self._n_vocab), np.float32)
        n_done = 0
        for first in range(0, len(ids), self._n_batch):
            chunk = ids[first : first + self._n_batch]
            self._run_body(chunk, start + first)
            here = rows[(rows >= first) & (rows < first + len(chunk))] - first
            self._run_head(here, logits[n_done : n_done + len(here)])
            n_done += len(here)
        return logits

    def reset(self) -> None:
        self.truncate(0)

    def truncate(self, n_positions: int) -> None:
        """ValueError, and nothing forgotten, if a layer's state cannot go back that far."""
        if not all(state.can_truncate(self._n_positions, n_positions) for state in self._states):
            raise ValueError(f"the state of {self._n_positions} positions cannot go back to {n_positions}")
        self._n_positions = n_positions

    def close(self) -> None:
        self._team.close()

    def _run_body(self, ids: NDArray[np.int32], start: int) -> None:
        """Everything before `SelectRows`, for at most n_batch tokens."""
        n = len(ids)
        self._program.tokens.count[0] = n
        self._positions[:n] = np.arange(start, start + n)
        for name, table in self._plan.rope_tables.items():
            cos, sin = self._program.angles[name]
            cos[:n], sin[:n] = rope_angles(self._positions[:n], table.inv_freq, table.scale)
        self._embed(ids)
        self._run(0, self._program.n_body, n)
        self._n_positions = start + n

    def _run_head(self, rows: NDArray[np.intp], logits: NDArray[np.float32]) -> None:
        """Final norm and head for `rows` (m,) of the last step -> logits (m, n_vocab)."""
        select = next(op for op in self._plan.ops if isinstance(op, ops.SelectRows))
        buffers = self._program.buffers
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[first : first + ROWS_AT_ONCE]
            buffers[select.out][: len(some)] = buffers[select.x][some]
            self._program.wanted.count[0] = len(some)
            self._run(self._program.n_body, len(self._program.steps), len(some))
            logits[first : first + len(some)] = buffers[self._plan.output][: len(some), : self._n_vocab]

    def _run(self, first: int, last: int, n_rows: int) -> None:
        """Run steps of the program in slices, between which Python can be interrupted."""
        while first < last:
            budget = self._macs[first] + MACS_PER_SLICE / n_rows
            stop = min(last, max(first + 1, int(np.searchsorted(self._macs, budget, side="right")) - 1))
            self._team.run(first, stop)
            first = stop

    def _embed(self, ids: NDArray[np.int32]) -> None:
        """Rows of the embedding table, straight from the mapped file."""
        op = self._plan.ops[0]
        if not isinstance(op, ops.Embed):
            raise TypeError("a plan begins with Embed")
        table = op.weight
        n_vocab, width = table.shape
        rows = table.data.reshape(n_vocab, -1)[ids]
        values = dequantize(table.format, rows.reshape(-1), len(ids) * width).reshape(len(ids), width)
        np.multiply(values, np.float32(op.scale), out=self._program.buffers[op.out][: len(ids), :width])

    def _attention(
        self, op: ops.Attention, q: NDArray, k: NDArray, v: NDArray, out: NDArray, rows: Rows
    ) -> list[Step]:
        """The steps of an attention operation: new keys and values into the layer's cache, then the sums over it."""
        cache = self._states[op.layer]
        sizes = (op.n_heads, op.n_kv_heads, op.head_dim, cache.n_slots, self._n_threads)
        if sizes not in self._scratch:
            self._scratch[sizes] = attention_scratch(*sizes)
        scratch = self._scratch[sizes]
        write = bind_cache_write(k, v, cache.keys, cache.values, self._positions, rows.count)
        attend, merge = bind_attend(
            q,
            cache.keys,
            cache.values,
            self._positions,
            out,
            rows.count,
            scratch,
            op.n_heads,
            op.scale,
            op.window,
        )
        return [
            Step(write, (k, v), (cache,)),
            Step(attend, (q, cache), (out, scratch)),
            Step(merge, (scratch,), (out,)),
        ]
