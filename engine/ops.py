"""The operations that a plan is made of.

An operation reads named buffers and writes one.  Every buffer is (n_tokens, width) float32; weights are
tensors of the file.  The mathematics of each is in the file of the same name in `kernels/`.
"""

from dataclasses import dataclass
from typing import ClassVar

from ..gguf_io.tensor import Tensor
from ..kernels.rope import Pairing


@dataclass(frozen=True, eq=False)  # compared by identity: tensors have no useful equality
class Op:
    """What all have: the buffer `out` that it writes, and which of its fields name buffers that it reads."""

    out: str

    reads: ClassVar[tuple[str, ...]] = ("x",)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the buffers that this operation reads."""
        return tuple(getattr(self, field) for field in self.reads)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the buffers that this operation writes."""
        return (self.out,)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The tensors that this operation reads."""
        return tuple(value for value in vars(self).values() if isinstance(value, Tensor))


@dataclass(frozen=True, eq=False)
class Embed(Op):
    """out = weight[ids] * scale, the first operation of a plan."""

    weight: Tensor
    scale: float = 1.0

    reads: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, eq=False)
class RmsNorm(Op):
    """Normalizes each of `n_groups` equal parts of x (its heads, or 1); weight is (width / n_groups,)."""

    x: str
    weight: Tensor
    eps: float
    n_groups: int = 1


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """out = x @ weight.T + bias; weight is (width of out, width of x)."""

    x: str
    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Rope(Op):
    """Rotates the first `n_rot` values of each head by the angles of the plan's rope table `table`."""

    x: str
    n_heads: int
    head_dim: int
    n_rot: int
    pairing: Pairing
    table: str


@dataclass(frozen=True, eq=False)
class Attention(Op):
    """Appends k and v to the state of `layer`, then attends causally over all that the state holds.

    q is (n_heads * head_dim) wide, k and v (n_kv_heads * head_dim), out as q.  window 0: no limit.
    """

    q: str
    k: str
    v: str
    layer: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scale: float
    window: int = 0

    reads: ClassVar[tuple[str, ...]] = ("q", "k", "v")


@dataclass(frozen=True, eq=False)
class SiluMul(Op):
    """out = silu(gate) * up."""

    gate: str
    up: str

    reads: ClassVar[tuple[str, ...]] = ("gate", "up")


@dataclass(frozen=True, eq=False)
class GeluMul(Op):
    """out = gelu(gate) * up, with the tanh form of GELU."""

    gate: str
    up: str

    reads: ClassVar[tuple[str, ...]] = ("gate", "up")


@dataclass(frozen=True, eq=False)
class Add(Op):
    """out = a + b."""

    a: str
    b: str

    reads: ClassVar[tuple[str, ...]] = ("a", "b")


@dataclass(frozen=True, eq=False)
class SelectRows(Op):
    """Keeps only the rows whose logits are wanted; from here on, buffers have that many rows."""

    x: str
