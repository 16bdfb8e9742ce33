"""The operations of layers that have many matrices, of which each token or head meets its own."""

from dataclasses import dataclass

from ....gguf_io.tensor import Tensor
from ....kernels.choices import Gating
from .base import Buffer, Op


@dataclass(frozen=True, eq=False)
class Route(Op):
    """Chooses `n_used` experts for each token by its router's logits x.

    `ids` gets their numbers (as float32, like every buffer), `out` what each counts; both are n_used wide.
    Where `n_sharing` neighbours share one expert, that is what is chosen.
    """

    ids: str
    x: Buffer
    n_used: int
    gating: Gating
    bias: Tensor | None
    is_normalized: bool
    scale: float
    n_groups: int
    n_groups_used: int
    n_sharing: int = 1

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.ids, self.out)


@dataclass(frozen=True, eq=False)
class ExpertLinear(Op):
    """x times the matrices of each token's chosen experts, side by side in the order of `ids`.

    weight is (n_experts, n_out, n_in), bias (n_experts, n_out), scale (n_experts,), applied before the bias.
    x is n_in wide, the same for all experts of a token, or has n_in columns for each.
    """

    x: Buffer
    ids: Buffer
    weight: Tensor
    bias: Tensor | None = None
    scale: Tensor | None = None


@dataclass(frozen=True, eq=False)
class ExpertSum(Op):
    """Sums what the experts of a token gave, side by side in x, each times its weight."""

    x: Buffer
    weights_of: Buffer


@dataclass(frozen=True, eq=False)
class HeadLinear(Op):
    """Each head of x times its own matrix; weight is (n_heads, n_out, n_in)."""

    x: Buffer
    weight: Tensor
