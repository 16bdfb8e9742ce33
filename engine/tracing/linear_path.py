"""Linear paths from an activation to the residual stream: a matrix, factors, and norms and gates whose values
are held fixed. Along them a direction in the stream is pulled back to the activation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...gguf_io.display import Shown, brief
from ..plan import ops
from ..plan.plan import Plan

Array = NDArray[np.float64]


class LinearPath(Shown):
    """The operations of `plan` from the buffer `start` to the sum that adds it to the residual stream.

    RequestError if there is no such path, or if it is not linear.
    """

    def __init__(self, plan: Plan, start: str) -> None:
        self.start = start
        self._steps: list[tuple[ops.Op, str]] = []  # an operation, and its input on the path
        current = start
        for op in plan.ops:
            if current not in op.inputs or isinstance(op, ops.SelectRows):
                continue
            if not isinstance(op, _LINEAR) or (isinstance(op, ops.Mul) and op.b == current):
                raise RequestError(
                    f"{start} does not come to the residual stream in a linear way: {op.out} is computed by"
                    f" {type(op).__name__}"
                )
            self._steps.append((op, current))
            current = op.out
            if isinstance(op, ops.Add) and ".resid_" in current:
                return
        raise RequestError(f"{start} does not come to the residual stream in a linear way")

    def _facts(self) -> dict[str, str]:
        steps = " -> ".join([self.start, *(op.out for op, _ in self._steps)])
        return {"steps": steps, "needs": brief(self.needs)}

    @property
    def needs(self) -> list[str]:
        """The names of the activations that `pull_back` needs."""
        norms = [x for op, x in self._steps if isinstance(op, ops.RmsNorm | ops.LayerNorm)]
        return norms + [op.b for op, _ in self._steps if isinstance(op, ops.Mul)]

    def pull_back(self, direction: Array, found: Mapping[str, NDArray[np.float32]]) -> Array:
        """direction (n, n_embd) of n tokens -> (n, width of `start`), whose dot product with `start` is what
        `start` adds along the direction. `found`: the activations that the path `needs`, (n, width) each."""
        for op, x in reversed(self._steps):
            match op:
                case ops.Linear():
                    direction = direction @ op.weight.dequantize().astype(np.float64) * op.scale
                case ops.RmsNorm() | ops.LayerNorm():
                    direction = norm_back(op, found[x], direction[:, None])[:, 0]
                case ops.Mul():
                    gate = found[op.b]
                    direction = direction * np.repeat(gate, direction.shape[1] // gate.shape[1], axis=1)
                case ops.Scale():
                    direction = direction * op.factor
                case ops.ScaleColumns():
                    factors = op.weight.dequantize().astype(np.float64)
                    factors = np.repeat(factors, direction.shape[1] // len(factors))
                    direction = direction / factors if op.divides else direction * factors
        return direction


_LINEAR = (ops.Linear, ops.RmsNorm, ops.LayerNorm, ops.Mul, ops.Scale, ops.ScaleColumns, ops.Add)


def norm_back(op: ops.RmsNorm | ops.LayerNorm, x: NDArray[np.float32], directions: Array) -> Array:
    """Directions (n, m, width) after a norm of x (n, width) -> before it, with its scale held fixed."""
    groups = x.astype(np.float64).reshape(len(x), 1, op.n_groups, -1)
    parts = directions.reshape(*directions.shape[:2], op.n_groups, -1)
    if op.weight is not None:
        parts = parts * op.weight.dequantize().astype(np.float64)
    if isinstance(op, ops.LayerNorm):
        groups = groups - groups.mean(axis=3, keepdims=True)
        parts = parts - parts.mean(axis=3, keepdims=True)
    scaled: Array = parts / np.sqrt(np.mean(np.square(groups), axis=3, keepdims=True) + op.eps)
    return scaled.reshape(directions.shape)
