"""Runs a plan on the tokens of a step, for one sequence or for many.

Made once: each operation becomes kernel calls on memory that stays (`lower/lowered_plan.py`). A step then
writes the positions and angles of its tokens and runs these; no memory is allocated but for the logits. What
comes after `SelectRows` (the end of the last block, and the head) runs for a few of the wanted rows at a
time, since logits are wide.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np

from ....gguf_io.dequantize import dequantize
from ....gguf_io.row_reader import RowReader
from ....kernels.attention.probs import attention_probs, gather_by_probs
from ....kernels.language.spans import set_spans
from ....kernels.position.query_scale import query_scales
from ....kernels.position.rope import rope_angles
from ....kernels.weights.decode_row import ROW_DECODERS
from ....system.placement import Cpus
from ...plan import ops
from ...plan.plan import Plan
from ..attention_probs import score_arguments, show_probs
from ..base import Array, Pages, Piece, RowNumbers, StepRows
from .listener import Listener
from .lower.lowered_plan import lower_plan
from .storage.caches import Cache, KVCache
from .storage.packed_matrix import PackedMatrix
from .storage.steps import meeting_points
from .team import Program, Team
from .thread_count import ThreadCount

MACS_PER_SLICE = 4e9
"""Some 20 ms of work: between slices Python sees a Ctrl-C."""


class PlanRunner:
    """`n_batch` and `n_head_rows`: how many tokens, and rows with logits, go through the program at once.
    `caches`: of the layers, for up to `n_seats` sequences. `matrices`: the packed weights of the plan.
    `cpus`: those of each thread."""

    def __init__(
        self,
        plan: Plan,
        n_batch: int,
        n_head_rows: int,
        n_threads: int,
        n_seats: int,
        pages: Sequence[Pages],
        caches: Sequence[Cache],
        matrices: Mapping[str, PackedMatrix],
        cpus: Sequence[Cpus] | None = None,
    ) -> None:
        self.plan = plan
        self._n_head_rows = n_head_rows
        self._lowered = lower_plan(plan, n_batch, n_head_rows, n_threads, n_seats, caches, matrices)
        steps = self._lowered.steps
        self._macs = list(accumulate((step.macs_per_token for step in steps), initial=0))
        self._team = Team(Program([step.call for step in steps], meeting_points(steps)), n_threads, cpus)
        self._threads = ThreadCount(n_threads), ThreadCount(n_threads)  # for single rows, and for many
        self._pages, self._caches = pages, caches
        self._head = next(i for i, op in enumerate(plan.ops) if isinstance(op, ops.SelectRows))
        self._writers = {name: i for i, op in enumerate(plan.ops) if i != self._head for name in op.outputs}
        self._writers |= {op.probs: i for i, op in enumerate(plan.ops) if isinstance(op, ops.Attention)}
        self._embeds = [op for op in plan.ops if isinstance(op, ops.Embed)]
        self._tables = {op.out: RowReader(op.weight) for op in self._embeds}
        self._errors: dict[int, Exception] = {}

    @property
    def n_buffer_bytes(self) -> int:
        """Memory of the plan's buffers."""
        return self._lowered.n_buffer_bytes

    def run(self, pieces: Sequence[Piece]) -> tuple[StepRows, Mapping[int, Exception]]:
        """One step of n_batch tokens at the most; shows taps what they listen to. -> The pieces' rows, up to
        the next step, and what taps have raised, by the seats of their pieces. Raises ValueError for an id
        outside the vocabulary."""
        self.finish()
        self._errors = {}
        first, wanted, listeners = 0, [], []
        for piece in pieces:
            wanted.append(piece.rows + first)
            listeners += Listener.of(piece, first)
            first += len(piece.ids)
        self._write_inputs(pieces)
        rows, last = np.concatenate(wanted), len(self.plan.ops)
        if first == len(rows) <= self._n_head_rows:  # all are wanted, as when decoding: no stop between
            self._want(rows)
            self._run_ops(0, last, first, listeners)
            return self._found(first), self._take_errors()
        self._run_ops(0, self._head, first, listeners)
        values = np.empty((len(rows), self.plan.buffers[self.plan.output]), np.float32)
        largest = np.empty(len(rows), np.float32)
        for at, n in self._run_head(rows, last, listeners):
            values[at : at + n], largest[at : at + n] = self._found(n)
        for one in listeners:
            if one.taps.needs_all_rows:
                last = 1 + max(self._writers[spec.buffer] for spec in one.taps.captured)
                for _ in self._run_head(one.others(rows), last, [one]):
                    pass
        return StepRows(values, largest), self._take_errors()

    def finish(self) -> None:
        """Finish what an interrupted step has left, if anything."""
        self._team.finish()

    def close(self) -> None:
        """End the threads."""
        self._team.close()

    def _write_inputs(self, pieces: Sequence[Piece]) -> None:
        """All that operations need of the tokens of a step."""
        ids = np.concatenate([piece.ids for piece in pieces])
        n, n_vocab = len(ids), self._embeds[0].weight.shape[0]
        if ids.view(np.uint32).max(initial=0) >= n_vocab:  # negative ones are huge
            raise ValueError(f"ids must lie in 0 .. {n_vocab - 1}; found {ids.min()} .. {ids.max()}")
        inputs = self._lowered.inputs
        spans: list[tuple[int, int, int]] = []
        seats: list[int] = []
        found: list[int] = []
        for piece in pieces:  # lists: they are faster than arrays for a few tokens, and fast enough for many
            n_own = len(piece.ids)
            spans.append((len(seats), len(seats) + n_own, piece.seat))
            seats += [piece.seat] * n_own
            found += range(piece.start, piece.start + n_own)
        set_spans(inputs.spans, spans)
        positions = inputs.positions[:n] = np.array(found)
        for pages in self._pages:
            inputs.slots[pages.window][:n] = pages.slots(seats, positions)
        self._lowered.n_tokens[0] = n
        for name, table in self.plan.rope_tables.items():
            cos, sin = inputs.angles[name]
            cos[:n], sin[:n] = rope_angles(inputs.positions[:n], table.inv_freq, table.scale)
        for key, scales in inputs.query_scales.items():
            scales[:n] = query_scales(inputs.positions[:n], *key)
        for op in self._embeds:
            self._tables[op.out].copy(ids, inputs.table_rows[op.out])
            if op.weight.format not in ROW_DECODERS:
                self._embed(op, n)

    def _run_head(
        self, rows: RowNumbers, last: int, listeners: Sequence[Listener]
    ) -> Iterator[tuple[int, int]]:
        """Run what comes after `SelectRows`, up to operation last - 1, for some rows, a few at a time; after
        each, the first of them and how many they are."""
        for at in range(0, len(rows), self._n_head_rows):
            some = rows[at : at + self._n_head_rows]
            self._want(some)
            own = [one for listener in listeners for one in listener.among(some)]
            self._run_ops(self._head, last, len(some), own)
            yield at, len(some)

    def _want(self, rows: RowNumbers) -> None:
        """Says which rows `SelectRows` takes."""
        self._lowered.inputs.wanted[: len(rows)] = rows
        self._lowered.n_wanted[0] = len(rows)

    def _run_ops(self, first: int, last: int, n_rows: int, listeners: Sequence[Listener]) -> None:
        """Run operations first … last - 1 on n_rows, with a stop after each that somebody listens to."""
        step, at = self._lowered.first_step, first
        writers = {self._writers[name] for one in listeners for name in one.taps.buffers}
        for i in sorted(i for i in writers if first <= i < last):
            self._run(step[at], step[i + 1], n_rows)
            at = i + 1
            for one in listeners:
                self._show_or_fail(self.plan.ops[i], one)
        self._run(step[at], len(self._lowered.steps) if last == len(self.plan.ops) else step[last], n_rows)

    def _take_errors(self) -> Mapping[int, Exception]:
        """Those of this step, which are not kept: their tracebacks know who has asked."""
        errors, self._errors = self._errors, {}
        return errors

    def _found(self, n: int) -> StepRows:
        """The first n rows of the output."""
        return StepRows(self._values(self.plan.output, slice(n)), self._lowered.largest[:, :n].max(axis=0))

    def _show_or_fail(self, op: ops.Op, one: Listener) -> None:
        """What taps raise is theirs alone: they are shown no more, and the others go on."""
        if one.seat not in self._errors:
            try:
                self._show(op, one)
            except Exception as error:
                self._errors[one.seat] = error

    def _show(self, op: ops.Op, one: Listener) -> None:
        """Show what `op` has written to somebody who may listen."""
        if isinstance(op, ops.Attention) and op.probs in one.taps.buffers:
            self._show_probs(op, one)
        for name in op.outputs:
            if name in one.taps.buffers:
                one.taps.show(name, self._values(name, one.rows), one.positions, one.ids)

    def _show_probs(self, op: ops.Attention, one: Listener) -> None:
        """Show the probabilities of an attention that has just run: its q is still there."""
        cache = self._caches[op.state]
        if not isinstance(cache, KVCache):
            raise TypeError(f"state {op.state} of the plan does not hold keys and values")
        positions = one.positions
        keys, values = cache.of_sequence(one.seat, int(positions[-1]) + 1)
        probs = attention_probs(
            self._values(op.q, one.rows).reshape(len(positions), op.n_heads, -1),
            keys,
            positions,
            op.scale,
            op.window,
            **score_arguments(op, None if op.sinks is None else op.sinks.dequantize()),
        )

        def gather(probs: Array) -> Array:
            return gather_by_probs(probs, values, positions, op.window, op.chunk, op.is_causal)

        show_probs(op, one.taps, probs, self._values(op.out, one.rows), gather, positions, one.ids)

    def _values(self, name: str, rows: slice) -> Array:
        """Rows of a buffer, without padding; to be read or written."""
        written = self._lowered.whole.get(name, self._lowered.buffers[name])
        return written[rows, : self.plan.buffers[name]]

    def _run(self, first: int, last: int, n_rows: int) -> None:
        """Run steps of the program in slices, between which Python can be interrupted."""
        threads = self._threads[n_rows > 1]
        while first < last:
            budget = self._macs[first] + MACS_PER_SLICE / n_rows
            stop = min(last, max(first + 1, bisect_right(self._macs, budget) - 1))
            started = time.perf_counter()
            waited = self._team.run(first, stop, threads.n, threads.spins)
            work = (self._macs[stop] - self._macs[first]) * n_rows
            threads.record(work, time.perf_counter() - started, waited)
            first = stop

    def _embed(self, op: ops.Embed, n: int) -> None:
        """The first n rows of an embedding table in a format that has no kernel."""
        width = op.weight.shape[1]
        rows = self._lowered.inputs.table_rows[op.out][:n]
        values = dequantize(op.weight.format, rows.reshape(-1), n * width).reshape(n, width)
        out = self._lowered.buffers[op.out][:n, :width]
        with np.errstate(over="ignore", invalid="ignore"):  # damaged weights show in the logits
            np.multiply(values, np.float32(op.scale), out=out)
