"""`Config`: the hyperparameters of a model, from which the shapes of its tensors and its graph follow."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from operator import attrgetter
from typing import Any, Self

from ...gguf_io.display import Shown, brief
from .groups import DeltaAttention, Experts, LatentAttention, Rope, Rwkv, StateSpace, Xielu


@dataclass(frozen=True, repr=False)
class Config(Shown):
    """The hyperparameters of a model, or of one of its layers (`at`).

    Where layers differ, a model's number is the highest and `per_layer` has them all.  A field that an
    architecture has no key for keeps its default, which changes nothing.
    """

    architecture: str
    n_vocab: int
    n_ctx_train: int
    n_embd: int
    n_layers: int  # without the blocks that only predict several tokens at once
    n_heads: int
    n_kv_heads: int
    head_dim: int
    n_ff: int
    norm_eps: float  # of layer norms, where a model may have either kind
    rms_norm_eps: float = 0.0  # where a model may have either kind of norm; 0: it has layer norms
    value_dim: int = 0
    n_nextn: int = 0  # blocks after the last layer that only predict several tokens at once

    rope: Rope = field(default_factory=Rope)
    moe: Experts = field(default_factory=Experts)
    mla: LatentAttention = field(default_factory=LatentAttention)
    ssm: StateSpace = field(default_factory=StateSpace)
    kda: DeltaAttention = field(default_factory=DeltaAttention)
    rwkv: Rwkv = field(default_factory=Rwkv)
    xielu: Xielu = field(default_factory=Xielu)

    sliding_window: int = 0
    sliding_layers: tuple[bool, ...] = ()  # one per layer: does it see `sliding_window` positions, or all?
    n_index_top: int = 0  # an indexer chooses so many of the positions that a token attends to; 0: all
    index_block: int = 0  # positions that are chosen together
    n_shared_kv_layers: int = 0  # the last so many layers read the keys and values of others
    full_attention_interval: int = 0  # of so many layers the last attends, the others are recurrent
    recurrent_layers: tuple[bool, ...] = ()

    is_causal: bool = True  # does a token see only itself and those before it?
    attention_scale: float = 0.0  # 0: 1 / sqrt(head_dim)
    attn_soft_cap: float = 0.0
    final_soft_cap: float = 0.0
    clamp_qkv: float = 0.0
    alibi_bias: float = 0.0
    temperature_scale: float = 0.0
    temperature_step: int = 0  # 0: rope.n_ctx_original
    value_scale: float = 1.0  # of what attention adds
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    is_parallel: bool = False  # attention and feed-forward layer side by side

    activation: str = ""  # of feed-forward layers, where files say which
    situ_beta: float = 0.0
    situ_linear_beta: float = 0.0
    sparsity: float | None = None  # how far above its mean a gate counts, in deviations; None: not said
    shortconv_size: int = 0
    n_embd_per_layer: int = 0  # width of the embedding that each token has for every layer

    n_streams: int = 1  # residual streams side by side
    hyper_eps: float = 0.0  # least share of a stream in what is read from all
    hyper_magnitude: float = 1.0  # highest share of a stream in what is written to all
    residual_block: int = 0  # of so many layers the first starts a new residual stream

    n_loops: int = 1  # how many times all blocks run
    skips_loop_norm: bool = False  # is the last norm left out after every round but the last?
    n_stack_layers: int = 0  # of each of two stacks, which are gone through again and again
    n_high_cycles: int = 0
    n_low_cycles: int = 0  # in each high cycle

    pooling: int | None = None  # how the embeddings of tokens become that of a text; None: the file is silent
    classifier_pooling: int | None = None  # how they become what a classifier reads; None: the file is silent
    n_classes: int = 1  # that a classifier gives scores for
    n_dense: int = 0  # width between two matrices after the pooling of embeddings
    n_token_types: int = 0  # embeddings that say which of several texts a token belongs to

    own: Mapping[str, Any] = field(default_factory=dict)
    """Values of keys of an architecture outside the package, whose field is "own.NAME", by NAME."""
    per_layer: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    layer: int = -1  # -1: the whole model

    def at(self, layer: int) -> Self:
        """The hyperparameters of one layer."""
        flat, grouped = split_groups({path: values[layer] for path, values in self.per_layer.items()})
        groups = {name: replace(getattr(self, name), **values) for name, values in grouped.items()}
        return replace(self, layer=layer, **flat, **groups)

    def _facts(self) -> dict[str, str]:
        """The fields that differ from their defaults."""
        values = {path: attrgetter(path)(self) for path in DEFAULTS}
        return {path: brief(value) for path, value in values.items() if value != DEFAULTS[path]}

    @property
    def q_width(self) -> int:
        """Width of the queries: all heads side by side."""
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys."""
        return self.n_kv_heads * self.head_dim

    @property
    def v_width(self) -> int:
        """Width of the values."""
        return self.n_kv_heads * self.value_dim

    @property
    def qkv_width(self) -> int:
        """Width of queries, keys and values side by side."""
        return self.q_width + self.kv_width + self.v_width

    @property
    def heads_width(self) -> int:
        """Width of the output of all heads: the input of the output matrix."""
        return self.n_heads * self.value_dim

    @property
    def n_own_kv_layers(self) -> int:
        """The number of layers that have keys and values of their own."""
        return self.n_layers + self.n_nextn - self.n_shared_kv_layers

    @property
    def has_own_kv(self) -> bool:
        """Does this layer have keys and values of its own?"""
        return self.layer < self.n_own_kv_layers

    @property
    def is_sliding(self) -> bool:
        """Does this layer see only `sliding_window` positions?"""
        return self.sliding_layers[self.layer]

    @property
    def window(self) -> int:
        """How many positions this layer sees; 0: all."""
        return self.sliding_window if self.is_sliding else 0

    @property
    def is_recurrent(self) -> bool:
        """Does this layer keep a recurrent state instead of keys and values?"""
        return bool(self.recurrent_layers) and self.recurrent_layers[self.layer]

    @property
    def has_attention(self) -> bool:
        """Does this layer have attention?"""
        return not self.is_recurrent

    @property
    def has_experts(self) -> bool:
        """Is this layer's feed-forward layer a mixture of experts?"""
        is_late = self.layer >= self.moe.n_dense_layers
        return self.moe.n_experts > 0 and is_late and (self.layer + 1) % self.moe.layer_step == 0

    @property
    def is_dense(self) -> bool:
        """Is this layer's feed-forward layer an ordinary one?"""
        return not self.has_experts

    @property
    def has_shared_expert(self) -> bool:
        """Does this layer have an expert that all tokens go to?"""
        return self.has_experts and self.moe.n_ff_shared > 0

    @property
    def expert_width(self) -> int:
        """Width of the input and output of experts."""
        return self.moe.n_latent or self.n_embd

    @property
    def is_expert_block(self) -> bool:
        """Of a model whose blocks have one sublayer each: is it a mixture of experts?"""
        return self.n_ff > 0 and self.moe.n_experts > 0

    @property
    def has_latent_experts(self) -> bool:
        """Of a model whose blocks have one sublayer each: is it experts on a shorter vector?"""
        return self.is_expert_block and self.moe.n_latent > 0

    @property
    def is_dense_block(self) -> bool:
        """Of a model whose blocks have one sublayer each: is it a feed-forward layer without experts?"""
        return self.n_ff > 0 and self.moe.n_experts == 0

    @property
    def is_attention_block(self) -> bool:
        """Of a model whose blocks have one sublayer each: is it attention?"""
        return self.n_ff == 0 and self.n_kv_heads > 0

    @property
    def is_ssm_block(self) -> bool:
        """Of a model whose blocks have one sublayer each: is it a mixer with a recurrent state?"""
        return self.n_ff == 0 and self.n_kv_heads == 0

    @property
    def is_stack_layer(self) -> bool:
        """Of a model with two stacks: does the file have weights for a layer of this number?"""
        return self.layer < 2 * self.n_stack_layers

    @property
    def mla_kv_width(self) -> int:
        """Width of the latent vector and the rotated key."""
        return self.mla.kv_lora_rank + self.rope.n_rot

    @property
    def mla_plain_dim(self) -> int:
        """Values of a head of latent attention that are not rotated."""
        return self.mla.key_dim - self.rope.n_rot

    @property
    def hybrid_q_width(self) -> int:
        """Width of the queries of this layer, Kimi Delta Attention or latent attention."""
        return self.kda.d_inner if self.is_recurrent else self.n_heads * self.mla.key_dim

    @property
    def hybrid_heads_width(self) -> int:
        """Width of the output of this layer's heads, Kimi Delta Attention or latent attention."""
        return self.kda.d_inner if self.is_recurrent else self.n_heads * self.mla.value_dim

    @property
    def ssm_dt_width(self) -> int:
        """Width of a mixer's time steps before their matrix."""
        return self.ssm.dt_rank or max(64, self.n_embd // 16)

    @property
    def own_value_mix_rank(self) -> int:
        """Rank of the mixture of this layer's values with the first layer's; in the first it is not used."""
        return self.rwkv.in_context_rank if self.layer == 0 else self.rwkv.value_mix_rank


GROUPS: dict[str, Any] = {field.name: field.type for field in fields(Config) if is_dataclass(field.type)}
"""The class of each group of fields."""


def _defaults(field: Field[Any]) -> dict[str, object]:
    if field.name in GROUPS:
        return {f"{field.name}.{inner.name}": inner.default for inner in fields(GROUPS[field.name])}
    return {field.name: field.default if field.default_factory is MISSING else {}}


DEFAULTS = {path: default for field in fields(Config) for path, default in _defaults(field).items()}
"""Every field by its path, "n_ff" or "moe.n_used", with its default; MISSING where it has none."""


def split_groups(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Values by the path of their fields -> those outside of groups, and those of each group, by name."""
    flat: dict[str, Any] = {}
    grouped: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        first, _, rest = path.partition(".")
        if rest:
            grouped.setdefault(first, {})[rest] = value
        else:
            flat[first] = value
    return flat, grouped
