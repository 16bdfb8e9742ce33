"""The operations of layers that carry a state from one token to the next."""

from dataclasses import dataclass

from ....gguf_io.tensor import Tensor
from .base import Buffer, Op


@dataclass(frozen=True, eq=False)
class L2Norm(Op):
    """Scales each of `n_groups` equal parts of x to length 1."""

    x: Buffer
    eps: float
    n_groups: int


@dataclass(frozen=True, eq=False)
class Recurrent(Op):
    """What all below have that carry something from one token to the next: the number of a state."""

    state: int


@dataclass(frozen=True, eq=False)
class CausalConv(Recurrent):
    """Mixes each channel's last values; those before the step are the state.

    weight is (n_channels, size), bias (n_channels,).
    """

    x: Buffer
    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True, eq=False)
class TokenShift(Recurrent):
    """out = the row before - x: what x lacks of the token before, which is the state."""

    x: Buffer


@dataclass(frozen=True, eq=False)
class SelectiveScan(Recurrent):
    """The recurrence of Mamba and Mamba-2: x and out n_heads * head_dim wide.

    dt is n_heads wide, b and c n_groups * n_state; a, skip and dt_bias hold n_heads values, or a n_state for
    each head.
    """

    x: Buffer
    dt: Buffer
    b: Buffer
    c: Buffer
    n_heads: int
    n_groups: int
    a: Tensor
    skip: Tensor
    dt_bias: Tensor


@dataclass(frozen=True, eq=False)
class Decay(Op):
    """out = a * softplus(x + bias): the logarithm of how much of a state remains.

    a has a number below 0 for each of as many equal parts of x.
    """

    x: Buffer
    a: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class DeltaRule(Recurrent):
    """The gated delta rule: v and out n_heads * head_dim wide.

    q and k are n_k_heads * head_dim wide, beta n_heads, the logarithm of the decay n_heads * n_rates: one for
    each head or for each value of its keys.  Neighbouring heads share a key head if `is_grouped`, else heads
    that are n_k_heads apart.
    """

    q: Buffer
    k: Buffer
    v: Buffer
    decay: Buffer
    beta: Buffer
    n_heads: int
    n_k_heads: int
    is_grouped: bool = False
    n_rates: int = 1


@dataclass(frozen=True, eq=False)
class LightningAttention(Recurrent):
    """Linear attention over a state that keeps `decay` of itself, a number for each head.

    q and k are n_heads * d_k wide, v and out n_heads * d_v.
    """

    q: Buffer
    k: Buffer
    v: Buffer
    decay: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class GatedLinearAttention(Recurrent):
    """Linear attention over a state whose every column forgets at a rate of its own.

    q, k and the logarithm of the decay are n_heads * d_k wide, v and out n_heads * d_v.  The state is read
    before it takes in a token if `reads_before`.
    """

    q: Buffer
    k: Buffer
    v: Buffer
    decay: Buffer
    n_heads: int
    reads_before: bool


@dataclass(frozen=True, eq=False)
class Bonus(Op):
    """out = v times a number for each head: the product of q and k, whose every column counts `weight`."""

    q: Buffer
    k: Buffer
    v: Buffer
    weight: Tensor  # n_heads * d_k values
    n_heads: int


@dataclass(frozen=True, eq=False)
class GeneralizedDeltaRule(Recurrent):
    """The recurrence of RWKV-7: what the state recalls for `a` is added for `b`.

    q, k, a, b and the logarithm of the decay are n_heads * d_k wide, v and out n_heads * d_v.
    """

    q: Buffer
    k: Buffer
    v: Buffer
    a: Buffer
    b: Buffer
    decay: Buffer
    n_heads: int
