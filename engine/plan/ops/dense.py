"""Operations of dense layers: embeddings, norms, matrices, attention, and what works on single values."""

from dataclasses import dataclass

from ....gguf_io.tensor import Tensor
from ....kernels.choices import Activation, Pairing
from .base import Buffer, Op


@dataclass(frozen=True, eq=False)
class Embed(Op):
    """out = weight[ids] * scale, the first operation of a plan."""

    weight: Tensor
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class RmsNorm(Op):
    """Normalizes each of `n_groups` equal parts of x (its heads, or 1).

    weight is (width / n_groups,), or (n_groups, width / n_groups): a row for each part; or there is none.
    """

    x: Buffer
    weight: Tensor | None
    eps: float
    n_groups: int = 1


@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """Takes the mean off each of `n_groups` equal parts of x, then normalizes it; adds a bias, if any."""

    x: Buffer
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    n_groups: int = 1


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """out = x @ weight.T * scale + bias; weight is (width of out, width of x)."""

    x: Buffer
    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Rope(Op):
    """Rotates the first `n_rot` values of each head by the angles of the plan's rope table `table`."""

    x: Buffer
    n_heads: int
    head_dim: int
    n_rot: int
    pairing: Pairing
    table: str


@dataclass(frozen=True, eq=False)
class QueryScale(Op):
    """out = x * (1 + strength * ln(1 + floor((position + offset) / step))): sharpens attention far along."""

    x: Buffer
    strength: float
    step: int
    offset: int = 0


@dataclass(frozen=True, eq=False)
class PositionEmbed(Op):
    """out = weight[position of x's row]; of x only the rows count."""

    x: Buffer
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Attention(Op):
    """Appends k and v to the state number `state`, then attends to what that holds: each query to positions
    up to its own, or if not `is_causal`, to all those of the step, which is the whole sequence; with a
    `window` to those less than so many away.

    q is (n_heads * head_dim) wide, k (n_kv_heads * head_dim), v (n_kv_heads * value_dim) and out
    (n_heads * value_dim).  window 0: no limit; chunk 0: positions are not cut into chunks; soft_cap 0: no
    cap; alibi_bias 0: no ALiBi.  Without k and v (both "") it attends to what another layer has put into the
    state.
    """

    q: Buffer
    k: Buffer
    v: Buffer
    state: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scale: float
    window: int = 0
    value_dim: int = 0
    soft_cap: float = 0.0
    alibi_bias: float = 0.0
    sinks: Tensor | None = None
    chunk: int = 0
    is_causal: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(name for name in super().inputs if name)

    @property
    def probs(self) -> str:
        """The name under which the probabilities go, which are computed only for who asks for them."""
        return f"{self.out.rpartition('.')[0]}.attn_probs"


@dataclass(frozen=True, eq=False)
class SiluMul(Op):
    """out = silu(gate) * up."""

    gate: Buffer
    up: Buffer


@dataclass(frozen=True, eq=False)
class GeluMul(Op):
    """out = gelu(gate) * up, with the tanh form of GELU."""

    gate: Buffer
    up: Buffer


@dataclass(frozen=True, eq=False)
class SwigluOai(Op):
    """The gated activation of gpt-oss, with limits."""

    gate: Buffer
    up: Buffer


@dataclass(frozen=True, eq=False)
class Activate(Op):
    """out = function(x), element by element."""

    x: Buffer
    function: Activation


@dataclass(frozen=True, eq=False)
class Xielu(Op):
    """out = xielu(x); of the two alphas softplus is taken first."""

    x: Buffer
    alpha_n: float
    alpha_p: float
    beta: float
    eps: float


@dataclass(frozen=True, eq=False)
class Scale(Op):
    """out = x * factor."""

    x: Buffer
    factor: float


@dataclass(frozen=True, eq=False)
class ScaleColumns(Op):
    """out[:, i] = x[:, i] * weight[i], or / weight[i] if `divides`.

    Where weight has fewer values than x columns, each is for one of as many equal parts of x.
    """

    x: Buffer
    weight: Tensor
    divides: bool = False


@dataclass(frozen=True, eq=False)
class Clamp(Op):
    """out = x within low .. high."""

    x: Buffer
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class SoftCap(Op):
    """out = cap * tanh(x / cap)."""

    x: Buffer
    cap: float


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """out = a * b; b may have one column for each of several equal parts of a row, or one for all of it."""

    a: Buffer
    b: Buffer


@dataclass(frozen=True, eq=False)
class Add(Op):
    """out = a + b."""

    a: Buffer
    b: Buffer


@dataclass(frozen=True, eq=False)
class AddVector(Op):
    """out = x + weight, the same for every row."""

    x: Buffer
    weight: Tensor


@dataclass(frozen=True, eq=False)
class TakeColumns(Op):
    """Of each of `n_groups` equal parts of x the columns start .. start + n - 1."""

    x: Buffer
    n_groups: int
    start: int
    n: int


@dataclass(frozen=True, eq=False)
class JoinColumns(Op):
    """Each of `n_groups` equal parts of a, followed by that of b."""

    a: Buffer
    b: Buffer
    n_groups: int


@dataclass(frozen=True, eq=False)
class RepeatColumns(Op):
    """Each of `n_groups` equal parts of x, n times side by side."""

    x: Buffer
    n: int
    n_groups: int = 1


@dataclass(frozen=True, eq=False)
class SelectRows(Op):
    """Keeps of the buffers `names` only the rows whose logits are wanted; all later ones have that many."""

    names: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.names

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.names
