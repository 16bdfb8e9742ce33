"""Why logits are NaN or infinite: the tokens are run once more, and every buffer is checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.tensor import Tensor
from ...kernels.attention.cache_type import CacheType
from ..executors.base import StepRows
from ..hooks.taps import Taps
from ..plan import ops
from ..plan.plan import Plan
from ..scheduler.seat import Seat

_BLOCK = re.compile(r"blk\.(\d+)\.")
_VALUES_AT_ONCE = 1 << 20


def diagnose(sequence: Seat, ids: NDArray[np.int32] | list[int], position: int, taps: Taps | None) -> str:
    """The cause of NaN or infinite logits at a position of `ids`; "" if they are sound. The state of the
    sequence is lost."""
    executor = sequence.executor
    n = position + 1 if executor.plan.is_causal else len(ids)
    sequence.reset()
    try:
        watch = _Watch(executor.plan, executor.cache_type, taps)
        sequence.forward(np.asarray(ids[:n], np.int32), 0, np.array([position]), watch)
    except _Found as found:
        return str(found)
    return ""


class _Found(Exception):
    """Ends the run; its text is the cause."""


class _Watch(Taps):
    """Taps that check every buffer, after `inner` has read and edited it, and raise `_Found` at the first
    value that is not finite, or that the cache cannot hold."""

    def __init__(self, plan: Plan, cache_type: CacheType, inner: Taps | None) -> None:
        super().__init__({}, 0 if inner is None else inner.n_prompt)
        self._inner = inner
        self._plan = plan
        self._writers = {
            name: op for op in plan.ops if not isinstance(op, ops.SelectRows) for name in op.outputs
        }
        self._cached: dict[str, str] = {}
        self._cache_type = cache_type
        for op in plan.ops:
            if isinstance(op, ops.Attention) and op.k:
                self._cached |= {op.v: "values", op.k: "keys"}
        self.buffers = frozenset(self._writers) | (frozenset() if inner is None else inner.buffers)

    def show(
        self, buffer: str, value: NDArray[np.float32], positions: NDArray[np.int64], ids: NDArray[Any]
    ) -> None:
        if self._inner is not None and buffer in self._inner.buffers:
            self._inner.show(buffer, value, positions, ids)
        op = self._writers.get(buffer)
        if op is None:  # attention probabilities, which only `inner` asks for
            return
        is_logits = buffer == self._plan.output and self._plan.has_logits
        unsound = ~(StepRows.of(value).are_sound if is_logits else np.isfinite(value).all(axis=1))
        if unsound.any():
            raise _Found(_of_operation(op, buffer, int(positions[unsound.argmax()])))
        if buffer in self._cached:
            largest = np.abs(value).max(axis=1)
            kind = self._cache_type
            if largest.max() >= kind.overflows_from:
                row = int((largest >= kind.overflows_from).argmax())
                layer = _BLOCK.match(buffer)
                raise _Found(
                    f"the {self._cached[buffer]} of {f'layer {layer[1]}, ' if layer else ''}{buffer}, reach"
                    f" {largest[row]:.6g} at position {positions[row]}, but the cache keeps them as"
                    f' {kind.name}, which ends at {kind.largest}; use cache_type="f32"'
                )


def _of_operation(op: ops.Op, buffer: str, position: int) -> str:
    """The cause if an operation has made values that are not finite from finite ones."""
    return damaged_weight([op]) or (
        f"{buffer} leaves the range of float32 at position {position}, though the weights that it is computed"
        " with are finite"
    )


def damaged_weight(operations: Iterable[ops.Op]) -> str:
    """A description of the first weight of some operations that is not finite; "" if all are."""
    for weight in (weight for op in operations for weight in op.weights):
        row = _unsound_row(weight)
        if row is not None:
            return (
                f"tensor {weight.name!r} holds NaN or infinity in row {row}: the file is damaged, or was made"
                " of weights that its format cannot hold; fetch or convert it again"
            )
    return ""


def _unsound_row(tensor: Tensor) -> int | None:
    """The first row with a value that is not finite; None if there is none."""
    width = tensor.shape[-1] if len(tensor.shape) > 1 else 1
    step = max(1, _VALUES_AT_ONCE // width)
    n_rows = tensor.n_values // width
    for first in range(0, n_rows, step):
        values = tensor.rows(first, min(first + step, n_rows)).dequantize().reshape(-1, width)
        unsound = ~np.isfinite(values).all(axis=1)
        if unsound.any():
            return first + int(unsound.argmax())
    return None
