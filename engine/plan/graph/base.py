"""The base of a graph: tensors by name, buffers, states and the plan."""

import copy
from collections.abc import Mapping
from typing import Self

from ....errors import ModelError
from ....gguf_io.tensor import Tensor
from .. import ops
from ..plan import Plan
from ..rope import RopeTable
from ..row_selection import select_early
from ..states import StateSpec


class GraphCore:
    """Finds tensors, and collects the operations of a plan with their buffers and states.

    A graph that `block` returns adds the prefix of that block to all names.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._used: set[str] = set()
        self._ops: list[ops.Op] = []
        self._widths: dict[str, int] = {}
        self._rope_tables: dict[str, RopeTable] = {}
        self._states: list[StateSpec] = []
        self._n_ctx_max: list[int] = []
        self._prefix = self._weight_prefix = ""
        self._output = "logits"

    def block(self, layer: int, weights_of: int | None = None) -> Self:
        """A view of this graph whose names begin with "blk.<layer>."; weights may be of another block."""
        block = copy.copy(self)  # shallow: the lists and dictionaries are shared
        block._prefix = f"blk.{layer}."
        block._weight_prefix = f"blk.{layer if weights_of is None else weights_of}."
        return block

    @property
    def whole_model(self) -> Self:
        """A view of this graph with the names of what belongs to no block."""
        graph = copy.copy(self)
        graph._prefix = graph._weight_prefix = ""
        return graph

    def plan(self) -> Plan:
        """The plan of all operations; ValueError if it does not end in logits or embeddings."""
        if self._output not in self._widths or not any(isinstance(op, ops.SelectRows) for op in self._ops):
            raise ValueError(
                "a graph must end with select_rows and an operation that writes 'logits', or with embeddings"
            )
        return Plan(
            select_early(tuple(self._ops)),
            dict(self._widths),
            dict(self._rope_tables),
            tuple(self._states),
            self._output,
            min(self._n_ctx_max, default=0),
        )

    def limit_context(self, n_positions: int) -> None:
        """Limits the context: beyond n_positions the graph would compute something else than the model."""
        self._n_ctx_max.append(n_positions)

    def begin_pooled(self, width: int) -> None:
        """Begins a plan whose input is not tokens, but the buffer "pooled", of this width."""
        self._widths["pooled"] = width

    def pooled_plan(self) -> Plan:
        """The plan of all operations since `begin_pooled`; its output is the last buffer."""
        return Plan(tuple(self._ops), dict(self._widths), {}, (), list(self._widths)[-1])

    @property
    def used(self) -> frozenset[str]:
        """The names of the tensors that the operations use."""
        return frozenset(self._used)

    def has(self, weight: str) -> bool:
        """Does the file have the tensor NAME.weight?"""
        return self.has_tensor(f"{weight}.weight")

    def has_tensor(self, name: str) -> bool:
        """Does the file have the tensor of exactly this name?"""
        return self._weight_prefix + name in self._tensors

    def weight(self, name: str) -> Tensor:
        """The tensor NAME.weight (NAME in PLaMo); ModelError if the file lacks it."""
        return self.tensor(name if self.has_tensor(name) else f"{name}.weight")

    def tensor(self, name: str) -> Tensor:
        """The tensor of exactly this name; ModelError if the file lacks it."""
        found = self.optional_tensor(name)
        if found is None:
            path = next((tensor.path for tensor in self._tensors.values()), "")
            raise ModelError(f"{path}: tensor {self._weight_prefix}{name} is missing; the model needs it")
        return found

    def optional_tensor(self, name: str) -> Tensor | None:
        """The tensor of exactly this name, or None."""
        found = self._tensors.get(self._weight_prefix + name)
        if found is not None:
            self._used.add(found.name)
        return found

    def scale_of(self, weight: str) -> float:
        """The factor of products with this matrix: its tensor "scale", if that is one number, or 1."""
        found = self._tensors.get(f"{self._weight_prefix}{weight}.scale")
        return self.number(f"{weight}.scale") if found is not None and found.n_values == 1 else 1.0

    def scales_of(self, weight: str, n_matrices: int) -> Tensor | None:
        """The factor per matrix of products with a stack of matrices: its tensor "scale", or None."""
        name = f"{weight}.scale"
        found = self._tensors.get(self._weight_prefix + name)
        return self.optional_tensor(name) if found is not None and found.n_values == n_matrices else None

    def number(self, name: str) -> float:
        """The one value of the tensor of exactly this name."""
        return float(self.tensor(name).dequantize().reshape(-1)[0])

    def width(self, name: str) -> int:
        """The width of the buffer `name`."""
        if name not in self._widths:
            raise ValueError(f"nothing has written the buffer {name!r}")
        return self._widths[name]

    def _add_state(self, spec: StateSpec) -> int:
        self._states.append(spec)
        return len(self._states) - 1

    def _add(self, op: ops.Op, width: int) -> str:
        for name in op.inputs:
            self.width(name)
        for out in op.outputs:
            if out in self._widths:
                raise ValueError(f"two operations write the buffer {out!r}")
            self._widths[out] = width
        self._ops.append(op)
        return op.out
