"""The end of a model by itself: from the residual stream of any layer to logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...gguf_io.display import Shown
from ...gguf_io.tensor import Tensor
from ..executors.reference.run import run_alone
from ..plan import ops
from ..plan.plan import Plan
from .linear_path import norm_back

Array = NDArray[np.float32]


class Unembedding(Shown):
    """The last norm and the head of a plan, in NumPy float32 on dequantized weights, which are kept."""

    def __init__(self, plan: Plan) -> None:
        self._weights: dict[Tensor, Array] = {}
        residual = [name for name in plan.buffers if name.endswith(".resid_post")]
        if not plan.has_logits:
            raise RequestError("this model gives embeddings, and no logits")
        if not residual:
            raise RequestError("this model has no residual stream that is known by name")
        self.residual = residual[-1]
        """The buffer of its input: the residual stream after the last block."""
        self.n_embd = plan.buffers[self.residual]
        start = next(i + 1 for i, op in enumerate(plan.ops) if self._writes(op))
        self._ops = [op for op in plan.ops[start:] if not isinstance(op, ops.SelectRows)]
        self._output = plan.output

    def logits(self, residual: Array) -> Array:
        """residual (n, n_embd) float32 -> logits (n, n_vocab), as if it were the output of the last block.

        Raises RequestError for another shape.
        """
        self._check(residual)
        return run_alone(self._ops, {self.residual: residual}, self._values)[self._output]

    def directions(self, ids: NDArray[np.integer], residual: Array) -> NDArray[np.float64]:
        """The directions (n, m, n_embd) float64 along which the logits of the tokens `ids` (m,) grow, at the
        residual stream `residual` (n, n_embd).

        With the norm's scale held fixed, logit = direction · residual: exact for a sum of parts, except for a
        bias, and factors or caps after the head. Raises RequestError for a model that does not end with an
        RMS norm or layer norm and a matrix.
        """
        self._check(residual)
        norm = self._ops[0]
        head = next((op for op in self._ops if isinstance(op, ops.Linear)), None)
        if not isinstance(norm, ops.RmsNorm | ops.LayerNorm) or head is None:
            raise RequestError("logits can be attributed only where the model ends with a norm and a matrix")
        rows = self._values(head.weight)[np.asarray(ids)].astype(np.float64)
        return norm_back(norm, residual, np.repeat(rows[None], len(residual), axis=0))

    def _facts(self) -> dict[str, str]:
        steps = " -> ".join([self.residual, *(op.out for op in self._ops)])
        return {"steps": steps, "n_embd": str(self.n_embd)}

    def _writes(self, op: ops.Op) -> bool:
        return self.residual in op.outputs and not isinstance(op, ops.SelectRows)

    def _check(self, residual: Array) -> None:
        if residual.ndim != 2 or residual.shape[1] != self.n_embd:
            raise RequestError(
                f"a residual stream of this model is (n_tokens, {self.n_embd}), not {residual.shape}"
            )

    def _values(self, weight: Tensor) -> Array:
        if weight not in self._weights:
            self._weights[weight] = weight.dequantize()
        return self._weights[weight]
