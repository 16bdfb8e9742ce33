"""The reference executor: a plan run in NumPy, float32, on dequantized weights.  Slow, plain, the oracle.

The BLAS behind NumPy sums in an order of its own, which depends on how many tokens go together: logits agree
from one chunk size to another to float32's rounding, not to the bit.
"""

import numpy as np
from numpy.typing import NDArray

from ....gguf_io.tensor import Tensor
from ....kernels.position.rope import rope_angles
from ...config.config import Config
from ...hooks.taps import Taps
from ...plan import ops
from ...plan.plan import Plan
from ..attention_probs import show_probs
from .dense import Array, Step, attention_probs, run
from .states import make_state


class ReferenceExecutor:
    """Runs one sequence through `plan`; see `Executor` for what it promises.

    Weights are dequantized when first needed and kept: four bytes for every value.  NumPy's BLAS has its own
    threads, so `n_threads` is not used.
    """

    compile_seconds = 0.0
    has_float16_cache = False

    def __init__(self, plan: Plan, config: Config, n_ctx: int, n_threads: int = 1) -> None:
        self._plan = plan.for_context(n_ctx)
        self._n_outputs = config.n_vocab if plan.has_logits else config.n_embd
        self._n_ctx = n_ctx
        self._weights: dict[Tensor, Array] = {}
        self._states = [make_state(spec) for spec in plan.states]
        self._last_reader = {name: op for op in plan.ops for name in op.inputs}
        self._n_positions = 0

    @property
    def weight_bytes_per_token(self) -> int:
        reading = (op for op in self._plan.ops if not isinstance(op, ops.Embed))
        shares = {weight: self._plan.share_read(op) for op in reading for weight in op.weights}
        return sum(int(4 * weight.n_values * share) for weight, share in shares.items())

    def forward(
        self, ids: NDArray[np.int32], start: int, rows: NDArray[np.intp], taps: Taps | None = None
    ) -> Array:
        """ids (n,) at the positions from `start` on, rows (m,) of them -> logits (m, n_vocab)."""
        n = len(ids)
        if n == 0:
            raise ValueError("there are no ids to run")
        if start != self._n_positions:
            raise ValueError(
                f"the state holds {self._n_positions} positions, so position {start} cannot be next"
            )
        self._plan.require_whole(start)
        if start + n > self._n_ctx:
            raise ValueError(f"{start} + {n} positions are more than the {self._n_ctx} of the context")
        positions = np.arange(start, start + n)
        angles = {
            name: rope_angles(positions, table.inv_freq, table.scale)
            for name, table in self._plan.rope_tables.items()
        }
        wanted = np.arange(n) if taps is not None and taps.needs_all_rows else rows
        step = Step(ids, positions, wanted, angles, self._states, self._values)
        buffers: dict[str, Array] = {}
        # Damaged weights give NaN and infinities, which the caller looks for in the logits.
        with np.errstate(over="ignore", invalid="ignore"):
            shown = positions, ids
            for op in self._plan.ops:
                if isinstance(op, ops.SelectRows):
                    if len(wanted) == 0:
                        break
                    shown = positions[wanted], ids[wanted]
                x = [buffers[name] for name in op.inputs]
                buffers.update(zip(op.outputs, run(op, x, step), strict=True))
                if taps is not None and not isinstance(op, ops.SelectRows):
                    _show(op, buffers, taps, step, *shown)
                for name in op.inputs:
                    if self._last_reader[name] is op:
                        buffers.pop(name, None)
        self._n_positions += n
        logits = buffers.get(self._plan.output, np.empty((0, self._n_outputs), np.float32))
        return logits if wanted is rows else logits[rows]

    def reset(self) -> None:
        for state in self._states:
            state.reset()
        self._n_positions = 0

    def truncate(self, n_positions: int) -> None:
        """ValueError, and nothing forgotten, if a layer's state cannot go back that far."""
        if not all(state.can_truncate(n_positions) for state in self._states):
            raise ValueError(f"the state of {self._n_positions} positions cannot go back to {n_positions}")
        for state in self._states:
            state.truncate(n_positions)
        self._n_positions = n_positions

    def close(self) -> None:
        self._weights.clear()
        self.reset()

    def _values(self, weight: Tensor) -> Array:
        if weight not in self._weights:
            self._weights[weight] = weight.dequantize()
        return self._weights[weight]


def _show(
    op: ops.Op,
    buffers: dict[str, Array],
    taps: Taps,
    step: Step,
    positions: NDArray[np.int64],
    ids: NDArray[np.int32],
) -> None:
    """Show what `op` has written to those who listen."""
    for name in op.outputs:
        buffers[name] = np.array(buffers[name])  # it may have been a view of another
    if isinstance(op, ops.Attention) and op.probs in taps.buffers:
        probs, gather = attention_probs(op, buffers[op.q], step)
        show_probs(op, taps, probs, buffers[op.out], gather, positions, ids)
    for name in taps.buffers.intersection(op.outputs):
        taps.show(name, buffers[name], positions, ids)
