"""The reference executor: a plan run in NumPy, float32, on dequantized weights.  Slow, plain, the oracle.

NumPy's BLAS sums in an order of its own, which depends on how many tokens go together: logits agree
from one chunk size to another to float32's rounding, not to the bit.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np

from ....gguf_io.tensor import Tensor
from ....kernels.position.rope import rope_angles
from ...hooks.taps import Taps
from ...plan import ops
from ...plan.plan import Plan
from ..attention_probs import show_probs
from ..base import Array, Executor, Ids, Piece, Positions, States, StepRows
from .attention import attention_probs
from .forward_pass import ForwardPass
from .run import run
from .states import State, make_state


class ReferenceExecutor(Executor):
    """Weights are dequantized when first needed and kept: four bytes for every value. Each seat has states of
    its own, and the pieces of a step are run one after the other."""

    def __init__(self, plan: Plan, n_ctx: int, n_batch: int = 512, *, n_seq_max: int = 1) -> None:
        super().__init__(plan, n_ctx, n_batch, n_seq_max)
        self.states: list[list[State]] = [
            [make_state(spec) for spec in plan.states] for _ in range(n_seq_max)
        ]
        """By seat."""
        self._weights: dict[Tensor, Array] = {}
        self._last_reader = {name: op for op in plan.ops for name in op.inputs}

    @property
    def weight_bytes_per_token(self) -> int:
        reading = (op for op in self.plan.ops if not isinstance(op, ops.Embed))
        shares = {weight: self.plan.share_read(op) for op in reading for weight in op.weights}
        return sum(int(4 * weight.n_values * share) for weight, share in shares.items())

    def _run_step(self, pieces: Sequence[Piece]) -> tuple[StepRows, Mapping[int, Exception]]:
        first = 0
        logits = np.empty((sum(len(piece.rows) for piece in pieces), self.n_outputs), np.float32)
        errors: dict[int, Exception] = {}
        for piece in pieces:
            try:
                self._run_piece(piece, logits[first : first + len(piece.rows)])
            except Exception as error:
                if piece.taps is None:
                    raise
                errors[piece.seat] = error
            first += len(piece.rows)
        return StepRows.of(logits), errors

    def _run_piece(self, piece: Piece, logits: Array) -> None:
        ids, positions, rows, taps = piece.ids, piece.positions, piece.rows, piece.taps
        angles = {
            name: rope_angles(positions, table.inv_freq, table.scale)
            for name, table in self.plan.rope_tables.items()
        }
        wanted = np.arange(len(ids)) if taps is not None and taps.needs_all_rows else rows
        forward = ForwardPass(ids, positions, wanted, angles, self.states[piece.seat], self._values)
        buffers: dict[str, Array] = {}
        # Damaged weights give NaN and infinities, which the caller looks for in the logits.
        with np.errstate(over="ignore", invalid="ignore"):
            shown = positions, ids
            for op in self.plan.ops:
                if isinstance(op, ops.SelectRows):
                    if len(wanted) == 0:
                        break
                    shown = positions[wanted], ids[wanted]
                x = [buffers[name] for name in op.inputs]
                buffers.update(zip(op.outputs, run(op, x, forward), strict=True))
                if taps is not None and not isinstance(op, ops.SelectRows):
                    _show(op, buffers, taps, forward, *shown)
                for name in op.inputs:
                    if self._last_reader[name] is op:
                        buffers.pop(name, None)
        if len(rows):
            output = buffers[self.plan.output]
            logits[:] = output if wanted is rows else output[rows]

    def reset(self, seat: int) -> None:
        for state in self.states[seat]:
            state.reset()

    def can_go_back(self, seat: int, n_before: int, n_after: int) -> bool:
        return all(state.can_go_back(n_before, n_after) for state in self.states[seat])

    def go_back(self, seat: int, n_before: int, n_after: int) -> None:
        for state in self.states[seat]:
            state.go_back(n_before, n_after)

    def states_of(self, seat: int) -> States:
        return deepcopy(self.states[seat])

    def set_states(self, seat: int, states: States) -> None:
        self.states[seat] = list(deepcopy(states))

    def close(self) -> None:
        self._weights.clear()
        for seat in range(self.n_seq_max):
            self.reset(seat)

    def _values(self, weight: Tensor) -> Array:
        if weight not in self._weights:
            self._weights[weight] = weight.dequantize()
        return self._weights[weight]


def _show(
    op: ops.Op, buffers: dict[str, Array], taps: Taps, forward: ForwardPass, positions: Positions, ids: Ids
) -> None:
    """Show what `op` has written to those who listen."""
    for name in op.outputs:
        buffers[name] = np.array(buffers[name])  # it may have been a view of another
    if isinstance(op, ops.Attention) and op.probs in taps.buffers:
        probs, gather = attention_probs(op, buffers[op.q], forward)
        show_probs(op, taps, probs, buffers[op.out], gather, positions, ids)
    for name in taps.buffers.intersection(op.outputs):
        taps.show(name, buffers[name], positions, ids)
