"""The fields of `Config`: what the metadata says about a model, and what is worked out from that."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True)
class ConfigFields:
    """What files and their architectures fill in.

    Where layers differ, a model's number is the highest and `per_layer` has them all.  What an architecture
    has no key for keeps its default, which changes nothing.
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
    norm_eps: float  # of layer norms, where there is another
    rms_norm_eps: float = 0.0  # where a model may have either kind of norm; 0: it has layer norms
    value_dim: int = 0
    n_nextn: int = 0  # blocks behind the last layer that only predict several tokens at once

    n_rot: int = 0
    rope_freq_base: float = 10000.0
    rope_scaling: str = "linear"
    rope_scale: float = 1.0  # positions are divided by it
    rope_attn_factor: float = 1.0  # multiplies cosine and sine
    n_ctx_original: int = 0  # the context before it was stretched by YaRN or LongRoPE
    yarn_log_mul: float = 0.0
    yarn_attn_factor: float = 1.0  # 1, or what YaRN's formula gives anyway
    yarn_ext_factor: float = 1.0  # how far fast pairs keep their speed; below 0: not said
    yarn_beta_fast: float = 32.0
    yarn_beta_slow: float = 1.0
    rope_alpha: float = 0.0  # above 0 it raises the base for longer contexts
    rope_sections: tuple[int, ...] = ()  # how many pairs turn with time, height, width and nothing
    rope_is_on: bool = True

    sliding_window: int = 0
    sliding_layers: tuple[bool, ...] = ()  # one per layer: does it see `sliding_window` positions, or all?
    n_rot_swa: int = 0  # for the layers with a sliding window; 0: as the others
    rope_freq_base_swa: float = 0.0  # for the layers with a sliding window
    n_index_top: int = 0  # an indexer chooses so many of the positions that a token attends to; 0: all
    index_block: int = 0  # positions that are chosen together
    n_shared_kv_layers: int = 0  # the last so many layers read the keys and values of others
    n_embd_per_layer: int = 0  # width of what each token brings to every layer

    is_causal: bool = True  # does no token see those behind it?
    attention_scale: float = 0.0  # 0: 1 / sqrt(head_dim)
    attn_soft_cap: float = 0.0
    final_soft_cap: float = 0.0
    clamp_qkv: float = 0.0
    alibi_bias: float = 0.0
    temperature_scale: float = 0.0
    temperature_step: int = 0  # 0: n_ctx_original
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    is_parallel: bool = False  # attention and feed-forward layer side by side

    value_scale: float = 1.0  # of what attention adds

    n_experts: int = 0
    n_experts_used: int = 0
    n_ff_exp: int = 0
    n_ff_shexp: int = 0
    n_ff_each_shexp: int = 0  # of each of several shared experts, which are stored as one; 0: n_ff_exp
    n_experts_shared: int = 0
    n_experts_per_group: int = 1  # so many experts share one of the smaller experts beside them
    n_ff_chexp: int = 0  # 0: head_dim
    chunk_expert_scale: float = 1.0
    n_dense_layers: int = 0  # the first so many layers have no experts
    moe_layer_step: int = 1  # of so many layers the last has experts
    expert_gating: int = 0
    swiglu_limit: float = 0.0
    swiglu_limit_shexp: float = 0.0
    expert_weights_norm: bool = False
    expert_weights_scale: float = 1.0
    n_expert_latent: int = 0  # width of what experts read and write; 0: n_embd
    n_expert_groups: int = 1
    n_expert_groups_used: int = 1

    n_streams: int = 1  # residual streams side by side
    hyper_eps: float = 0.0  # least share of a stream in what is read from all
    hyper_magnitude: float = 1.0  # highest share of a stream in what is written to all
    sparsity: float | None = None  # how far above its mean a gate counts, in deviations; None: not said

    xielu_alpha_n: float = 0.0  # before softplus, as the file has them
    xielu_alpha_p: float = 0.0
    xielu_beta: float = 0.0
    xielu_eps: float = 0.0

    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    mla_key_dim: int = 0
    mla_value_dim: int = 0
    has_split_kv: bool = True  # latent attention: are the matrices of keys and values apart?

    ssm_conv: int = 0  # how many positions the convolution sees
    ssm_inner: int = 0
    ssm_state: int = 0
    ssm_heads: int = 0  # 0: each channel of a mixer is one
    ssm_groups: int = 0
    ssm_dt_rank: int = 0  # width of a mixer's time steps before their matrix; 0: as in PLaMo 2
    has_plain_ssm_norms: bool = False  # a mixer's time steps, B and C have norms without weights
    wkv_dim: int = 0  # of a head of RWKV
    time_mix_rank: int = 0  # of the matrices that say how a token is mixed with the one before
    decay_rank: int = 0  # of those that give decays, and so on
    in_context_rank: int = 0
    value_mix_rank: int = 0
    gate_rank: int = 0
    rescale_interval: int = 0  # behind so many layers the residual stream is halved; 0: never
    residual_block: int = 0  # of so many layers the first starts a new residual stream
    situ_beta: float = 0.0
    situ_linear_beta: float = 0.0
    kda_dim: int = 0  # of a head of Kimi Delta Attention
    kda_heads: int = 0
    kda_gate_bound: float = 0.0  # lower bound of the logarithm of what a state keeps; 0: none
    kda_gate_is_bounded: bool = True
    shortconv_size: int = 0
    activation: str = ""  # of feed-forward layers, where files say which
    n_dense: int = 0  # width between two matrices behind the pooling of embeddings
    n_token_types: int = 0  # embeddings that say which of several texts a token belongs to
    pooling: int | None = None  # how the embeddings of tokens become that of a text; None: the file is silent
    classifier_pooling: int | None = None  # the same, for a classifier
    n_classes: int = 1  # that a classifier gives scores for

    n_stack_layers: int = 0  # of each of two stacks, which are gone through again and again
    n_high_cycles: int = 0
    n_loops: int = 1  # how many times all blocks run
    skips_loop_norm: bool = False  # the last norm only stands behind the last round
    n_low_cycles: int = 0  # in each high cycle
    full_attention_interval: int = 0  # of so many layers the last attends, the others are recurrent
    recurrent_layers: tuple[bool, ...] = ()

    own: Mapping[str, Any] = field(default_factory=dict)
    """What only an architecture from outside the package has: the keys whose field is "own.NAME", by NAME."""
    per_layer: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    layer: int = -1  # -1: the whole model

    def at(self, layer: int) -> Self:
        """The same for one layer, with its own numbers where layers differ."""
        own = {name: values[layer] for name, values in self.per_layer.items()}
        return replace(self, layer=layer, **own)  # type: ignore[arg-type]
