"""A plan: the operations of a model over named buffers, and the graph that an architecture builds it with.

Buffer names are stable and public: "token_embd"; per block "blk.N." and attn_norm, q, k, v, q_norm, k_norm,
q_rope, k_rope, attn_heads (heads side by side, before the output matrix), attn_out, post_attn_norm,
resid_mid, ffn_norm, ffn_gate, ffn_up, ffn_act, ffn_out, post_ffw_norm, resid_post; then "out_rows",
"output_norm" and "logits".
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import ModelError
from ..gguf_io.tensor import Tensor
from ..kernels.rope import Pairing
from . import ops
from .states import KVSpec


@dataclass(frozen=True, eq=False)
class RopeTable:
    """Angles by which a `Rope` rotates: position * inv_freq, cosine and sine multiplied by `scale`."""

    inv_freq: NDArray[np.float64]  # (n_rot / 2,)
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Plan:
    """A model as a list of operations, ready for an executor."""

    ops: tuple[ops.Op, ...]
    buffers: Mapping[str, int]  # name -> width, in the order of computation
    rope_tables: Mapping[str, RopeTable]
    states: tuple[KVSpec, ...]  # one per layer
    output: str = "logits"


class Graph:
    """Builds a plan.  Each method adds an operation and returns the name of the buffer that it writes.

    `out` and weights are named within a block: `graph.block(3).linear("attn_out", x, "attn_output")` writes
    "blk.3.attn_out" with "blk.3.attn_output.weight", and "blk.3.attn_output.bias" if the file has it.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._ops: list[ops.Op] = []
        self._widths: dict[str, int] = {}
        self._rope_tables: dict[str, RopeTable] = {}
        self._states: list[KVSpec] = []
        self._prefix = ""

    def block(self, layer: int) -> "Graph":
        """This same graph, with names that begin with "blk.<layer>."."""
        block = copy.copy(self)  # shallow: the lists and dictionaries are shared
        block._prefix = f"blk.{layer}."
        return block

    def plan(self) -> Plan:
        """The plan of all that was added so far."""
        return Plan(tuple(self._ops), dict(self._widths), dict(self._rope_tables), tuple(self._states))

    def has(self, weight: str) -> bool:
        """Does the file have this optional weight?"""
        return f"{self._prefix}{weight}.weight" in self._tensors

    def rope_table(self, name: str, inv_freq: NDArray[np.float64], divisors: str | None = None) -> str:
        """Adds the angles that `rope` refers to by `name`; inv_freq is divided by `divisors`, if there."""
        if divisors is not None and self.has(divisors):
            tensor = self._weight(divisors)
            values = tensor.dequantize().astype(np.float64)
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise ModelError(f"{tensor.path}: tensor {tensor.name} must be finite and above 0 throughout")
            inv_freq = inv_freq / values
        self._rope_tables[name] = RopeTable(inv_freq)
        return name

    def embed(self, out: str, weight: str, scale: float = 1.0) -> str:
        table = self._weight(weight)
        return self._add(ops.Embed(self._prefix + out, table, scale), table.shape[1])

    def rms_norm(self, out: str, x: str, weight: str, eps: float) -> str:
        """Normalizes as many groups of x as its width holds of the weight's."""
        gain = self._weight(weight)
        width = self._width(x)
        return self._add(ops.RmsNorm(self._prefix + out, x, gain, eps, width // gain.shape[0]), width)

    def linear(self, out: str, x: str, weight: str) -> str:
        matrix = self._weight(weight)
        bias = self._tensors.get(f"{self._prefix}{weight}.bias")
        return self._add(ops.Linear(self._prefix + out, x, matrix, bias), matrix.shape[0])

    def rope(self, out: str, x: str, head_dim: int, pairing: Pairing, table: str) -> str:
        width = self._width(x)
        n_rot = 2 * len(self._rope_tables[table].inv_freq)
        return self._add(
            ops.Rope(self._prefix + out, x, width // head_dim, head_dim, n_rot, pairing, table), width
        )

    def attention(
        self, out: str, q: str, k: str, v: str, head_dim: int, scale: float, window: int = 0
    ) -> str:
        """Attends with the next layer's state, which this adds to the plan."""
        width = self._width(q)
        n_heads, n_kv_heads = width // head_dim, self._width(k) // head_dim
        layer = len(self._states)
        self._states.append(KVSpec(n_kv_heads, head_dim, window))
        return self._add(
            ops.Attention(self._prefix + out, q, k, v, layer, n_heads, n_kv_heads, head_dim, scale, window),
            width,
        )

    def silu_mul(self, out: str, gate: str, up: str) -> str:
        return self._add(ops.SiluMul(self._prefix + out, gate, up), self._width(gate))

    def gelu_mul(self, out: str, gate: str, up: str) -> str:
        return self._add(ops.GeluMul(self._prefix + out, gate, up), self._width(gate))

    def add(self, out: str, a: str, b: str) -> str:
        return self._add(ops.Add(self._prefix + out, a, b), self._width(a))

    def select_rows(self, out: str, x: str) -> str:
        return self._add(ops.SelectRows(self._prefix + out, x), self._width(x))

    def _weight(self, name: str) -> Tensor:
        return self._tensors[f"{self._prefix}{name}.weight"]

    def _width(self, name: str) -> int:
        if name not in self._widths:
            raise ValueError(f"nothing has written the buffer {name!r}")
        return self._widths[name]

    def _add(self, op: ops.Op, width: int) -> str:
        if op.out in self._widths:
            raise ValueError(f"two operations write the buffer {op.out!r}")
        for name in op.inputs:
            self._width(name)
        self._ops.append(op)
        self._widths[op.out] = width
        return op.out
