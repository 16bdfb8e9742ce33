"""Groups of fields of `Config`, one for each part that only some models have, and one for RoPE.

The defaults change nothing: they are those of a model without the part.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rope:
    """Rotary position embeddings: what is rotated, and how a longer context stretches it."""

    n_rot: int = 0  # values of a head that are rotated
    n_rot_swa: int = 0  # in layers with a sliding window; 0: as in the others
    freq_base: float = 10000.0
    freq_base_swa: float = 0.0  # in layers with a sliding window
    is_on: bool = True
    sections: tuple[int, ...] = ()  # pairs that turn with time, height, width and nothing
    alpha: float = 0.0  # above 0 it raises the base for longer contexts
    scaling: str = "linear"
    scale: float = 1.0  # positions are divided by it
    attn_factor: float = 1.0  # multiplies cosine and sine
    n_ctx_original: int = 0  # the context before YaRN or LongRoPE stretched it
    yarn_log_mul: float = 0.0
    yarn_attn_factor: float = 1.0  # 1, or what YaRN's formula gives anyway
    yarn_ext_factor: float = 1.0  # how far fast pairs keep their speed; below 0: not said
    yarn_beta_fast: float = 32.0
    yarn_beta_slow: float = 1.0


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: how many there are, how wide they are, and how a token's are chosen."""

    n_experts: int = 0
    n_used: int = 0  # by each token
    n_shared: int = 0  # used by every token
    n_dense_layers: int = 0  # the first so many layers have no experts
    layer_step: int = 1  # of so many layers the last has experts

    n_ff: int = 0
    n_ff_shared: int = 0  # of all shared experts, which are stored as one
    n_ff_each_shared: int = 0  # of each of them; 0: n_ff
    n_latent: int = 0  # width of the input and output of experts; 0: n_embd
    swiglu_limit: float = 0.0
    swiglu_limit_shared: float = 0.0

    gating: int = 0
    weights_norm: bool = False  # do the weights of the chosen experts sum to 1?
    weights_scale: float = 1.0
    n_groups: int = 1
    n_groups_used: int = 1

    n_per_chunk: int = 1  # so many experts share a smaller one, a chunk expert
    n_ff_chunk: int = 0
    chunk_scale: float = 1.0

    @property
    def n_chunks(self) -> int:
        """The number of chunk experts."""
        return self.n_experts // self.n_per_chunk


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention: keys and values are made from one short vector per token."""

    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    key_dim: int = 0
    value_dim: int = 0
    has_split_kv: bool = True  # do keys and values have a matrix each?

    @property
    def has_joint_kv(self) -> bool:
        """Do keys and values share one matrix?"""
        return not self.has_split_kv


@dataclass(frozen=True)
class StateSpace:
    """Mamba's mixers, and gated delta nets, whose files have the same keys."""

    d_conv: int = 0  # positions that the convolution sees
    d_inner: int = 0
    d_state: int = 0
    n_heads: int = 0  # 0: each channel of a mixer is one
    n_groups: int = 0
    dt_rank: int = 0  # width of the time steps before their matrix; 0: as in PLaMo 2
    has_plain_norms: bool = False  # do time steps, B and C have norms without weights?

    @property
    def n_channels(self) -> int:
        """Channels of the convolution: values, and keys and queries (B and C) of each group."""
        return self.d_inner + 2 * self.n_groups * self.d_state

    @property
    def group_dim(self) -> int:
        """Channels of a group of heads."""
        return self.d_inner // self.n_groups

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.d_inner // self.n_heads


@dataclass(frozen=True)
class DeltaAttention:
    """Kimi Delta Attention."""

    head_dim: int = 0
    n_heads: int = 0
    gate_bound: float = 0.0  # lower bound of the logarithm of the decay; 0: none
    gate_is_bounded: bool = True

    @property
    def d_inner(self) -> int:
        """Width of the queries, keys, values and gates: all heads side by side."""
        return self.n_heads * self.head_dim


@dataclass(frozen=True)
class Rwkv:
    """RWKV: the ranks of the low-rank matrices that its gates, decays and mixtures come from."""

    head_dim: int = 0
    time_mix_rank: int = 0  # how a token is mixed with the one before
    decay_rank: int = 0
    in_context_rank: int = 0
    value_mix_rank: int = 0
    gate_rank: int = 0
    rescale_interval: int = 0  # after so many layers the residual stream is halved; 0: never

    @property
    def n_lerps(self) -> int:
        """How many mixtures of a token with the one before there are, where their shares are fixed."""
        return 6 if self.gate_rank else 5


@dataclass(frozen=True)
class Xielu:
    """The parameters of xIELU; the alphas are stored as they are before softplus."""

    alpha_n: float = 0.0
    alpha_p: float = 0.0
    beta: float = 0.0
    eps: float = 0.0
