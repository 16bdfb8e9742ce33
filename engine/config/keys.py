"""The metadata keys of models: their types and ranges, and which of them change nothing."""

from dataclasses import dataclass, replace
from typing import Any, Literal

REQUIRED = object()
OWN = "own."


@dataclass(frozen=True)
class Key:
    """A metadata key: the field of `Config` that it fills, its type, range and default.

    A field in a group has a path, "moe.n_used"; "own.NAME" fills `Config.own["NAME"]`.  An integer lies in
    low .. high; a float is finite, above low and at most high, or 0 if `or_zero`, or minus infinity if
    `or_never`.  Where `per_layer` allows it, the file may give an array of one value per layer instead, all
    the same or any.  `integers` is an array of at most four.  A default of None follows from other fields.
    Most keys begin with the architecture's name.
    """

    field: str
    type: Literal["integer", "float", "text", "boolean", "integers"]
    low: float = 0
    high: float = 0
    default: Any = REQUIRED
    per_layer: Literal["no", "same", "any"] = "no"
    or_zero: bool = False
    or_never: bool = False
    is_prefixed: bool = True


def optional_float(field: str, default: Any) -> Key:
    """A factor or limit, `default` if the file has none; 0 is allowed, with a meaning of its own."""
    return Key(field, "float", 0, 1e9, default=default, or_zero=True)


# The keys of every architecture; one that has its own key for a field replaces the one here.
KEYS = {
    "context_length": Key("n_ctx_train", "integer", 1, 2**32 - 1),
    "embedding_length": Key("n_embd", "integer", 1, 2**20),
    "block_count": Key("n_layers", "integer", 1, 1024),
    "nextn_predict_layers": Key("n_nextn", "integer", 0, 64, default=0),
    "feed_forward_length": Key("n_ff", "integer", 1, 2**24, per_layer="same"),
    "attention.head_count": Key("n_heads", "integer", 1, 2**16, per_layer="same"),
    "attention.head_count_kv": Key("n_kv_heads", "integer", 1, 2**16, default=None, per_layer="same"),
    "attention.key_length": Key("head_dim", "integer", 1, 2**16, default=None),
    "attention.value_length": Key("value_dim", "integer", 1, 2**16, default=None),
    "attention.layer_norm_rms_epsilon": Key("norm_eps", "float", 0, 1),
    "rope.dimension_count": Key("rope.n_rot", "integer", 2, 2**16, default=None),
    "rope.freq_base": Key("rope.freq_base", "float", 0, 1e15, default=10000.0),
    "rope.scaling.type": Key("rope.scaling", "text", default="linear"),
    "rope.scaling.factor": optional_float("rope.scale", None),
    "rope.scale_linear": Key("rope.old_scale", "float", 0, 1e6, default=1.0),
    "rope.scaling.original_context_length": Key("rope.n_ctx_original", "integer", 1, 2**32 - 1, default=None),
    "rope.scaling.attn_factor": Key("rope.attn_factor", "float", 0, 1e6, default=1.0),
    "rope.scaling.yarn_attn_factor": Key("rope.yarn_attn_factor", "float", 0, 1e6, default=1.0),
    "rope.scaling.yarn_beta_fast": Key("rope.yarn_beta_fast", "float", 0, 1e6, default=32.0),
    "rope.scaling.yarn_beta_slow": Key("rope.yarn_beta_slow", "float", 0, 1e6, default=1.0),
    "pooling_type": Key("pooling", "integer", -1, 2**32 - 1, default=None),
    "classifier.pooling_type": Key("classifier_pooling", "integer", -1, 2**32 - 1, default=None),
    "vocab_size": Key("n_vocab", "integer", 1, 2**31 - 1, default=None),
}

# Keys that would change the computation, with the values at which they do not.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "altup.active_idx": (0,),
    "altup.correct_scale": (True,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.output_group_count": (0,),
    "attention.scale": (0.0,),
    "attention.temperature_scale": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "expert_gating_func": (1,),
    "expert_group_count": (0, 1),
    "final_logit_softcapping": (0.0,),
    "kda.safe_gate": (False,),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.yarn_log_multiplier": (0.0,),
    "ssm.dt_b_c_rms": (False,),
    "ssm.v_head_reordered": (True,),
    "use_parallel_residual": (False,),
}

_OTHERS = "a key of other architectures, which llama.cpp's test models carry"

# Keys that change nothing, and why.  llama.cpp's converters write some of them for every architecture, where
# the original's configuration has them.
INERT = {
    "attention.layer_norm_epsilon": "of layer norms, which the model does not have",
    "attention.layer_norm_rms_epsilon": "of RMS norms, which the model does not have",
    "expert_group_used_count": "counts where expert_group_count is above 1",
    "rope.dimension_sections": "text is at the same position in time, height and width: sections turn alike",
    "rope.freq_base_swa": "of layers with a window, which have no base of their own, or are not there",
    "rope.scaling.yarn_ext_factor": "how far YaRN goes; llama.cpp reads it for Grok, transformers never",
    "classifier.output_labels": "the names of the classes; their number counts, and is looked up there",
    "tensor_data_layout": "says how a converter found the rows; they are stored as the graph needs them",
    "rope.scaling.finetuned": "says how the model was trained",
    "activation.situ_beta": _OTHERS,
    "attention.indexer.kpool_select_tail": _OTHERS,
    "attention.rope_pattern": _OTHERS,
    "deepstack_mapping": _OTHERS,
    "expert_group_scale": _OTHERS,
    "hash_layer_count": _OTHERS,
    "hrm.prefix_lm": _OTHERS,
    "router_logit_softcapping": _OTHERS,
    "swin_norm": _OTHERS,
    "token_shift_count": _OTHERS,
}

# Keys that several architectures have.
LAYER_NORM = {"attention.layer_norm_epsilon": Key("norm_eps", "float", 0, 1)}

# Of decoders that were turned into encoders, such as some embedding models.
IS_CAUSAL = {"attention.causal": Key("is_causal", "boolean", default=True)}

# Of models that are encoders by design: why the key changes nothing.
NOT_CAUSAL = {"attention.causal": "every token sees all others, whatever it says"}

SLIDING_WINDOW = Key("sliding_window", "integer", 0, 2**31 - 1, default=0)


def sliding_pattern(period: Any, dense_first: bool = False) -> Key:
    """A boolean per layer, or a period: the last of each so many layers sees all positions, or the first.

    `period` is the default; REQUIRED if the file must say.
    """
    field = "sliding_pattern_dense_first" if dense_first else "sliding_pattern"
    return Key(field, "integer", 0, 1024, default=period, per_layer="any")


# The base of layers with a sliding window; 0: that of the others.
ROPE_BASE_SWA = {"rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=0.0, or_zero=True)}

N_ROT_SWA = Key("rope.n_rot_swa", "integer", 2, 2**16, default=0)

HEADS_BY_LAYER = {
    "attention.head_count": Key("n_heads", "integer", 1, 2**16, per_layer="any"),
    "attention.head_count_kv": Key("n_kv_heads", "integer", 1, 2**16, default=None, per_layer="any"),
}


ROPE_SECTIONS = {"rope.dimension_sections": Key("rope.sections", "integers", 0, 2**16, default=())}

SCALES = {
    "attention.scale": optional_float("attention_scale", 0.0),
    "embedding_scale": optional_float("embedding_scale", 1.0),
    "residual_scale": optional_float("residual_scale", 1.0),
    "logit_scale": optional_float("logit_scale", 1.0),
}

EXPERTS = {
    "expert_count": Key("moe.n_experts", "integer", 0, 2**16, default=0),
    "expert_used_count": Key("moe.n_used", "integer", 0, 2**16, default=0),
    "expert_feed_forward_length": Key("moe.n_ff", "integer", 0, 2**24, default=0, per_layer="same"),
    "expert_shared_feed_forward_length": Key("moe.n_ff_shared", "integer", 0, 2**24, default=0),
    "expert_shared_count": Key("moe.n_shared", "integer", 0, 2**10, default=0),
    "expert_gating_func": Key("moe.gating", "integer", 0, 4, default=0),
    "expert_weights_norm": Key("moe.weights_norm", "boolean", default=False),
    "expert_weights_scale": optional_float("moe.weights_scale", 1.0),
    "expert_group_count": Key("moe.n_groups", "integer", 0, 2**10, default=1),
    "expert_group_used_count": Key("moe.n_groups_used", "integer", 0, 2**10, default=1),
    "leading_dense_block_count": Key("moe.n_dense_layers", "integer", 0, 1024, default=0),
}

# Why these change nothing in architectures without experts: a tensor of an expert would be an error.
NO_EXPERTS = dict.fromkeys((*EXPERTS, "moe_every_n_layers"), "of experts, which the model does not have")

EXPERT_COUNTS = {name: EXPERTS[name] for name in ("expert_count", "expert_used_count")}

_LIMIT = Key("", "float", 0, 1e9, default=0.0, per_layer="any", or_zero=True)

# Limits of the gate and `up` of experts and of the shared expert; 0: none.
SWIGLU_LIMITS = {
    "swiglu_clamp_exp": replace(_LIMIT, field="moe.swiglu_limit"),
    "swiglu_clamp_shexp": replace(_LIMIT, field="moe.swiglu_limit_shared"),
}

# Where layers have different numbers of heads, and widths; 0: no attention, or no feed-forward layer.
HEAD_COUNTS = {
    "attention.head_count": Key("n_heads", "integer", 0, 2**16, per_layer="any"),
    "attention.head_count_kv": Key("n_kv_heads", "integer", 0, 2**16, default=None, per_layer="any"),
}

FFN_WIDTHS = {"feed_forward_length": Key("n_ff", "integer", 0, 2**24, per_layer="any")}

# Of models without attention.
NO_HEADS = {
    "attention.head_count": Key("n_heads", "integer", 0, 2**16, default=0),
    "attention.head_count_kv": Key("n_kv_heads", "integer", 0, 2**16, default=0),
}

RECURRENT_LAYERS = Key("recurrent_layers", "integer", 0, 1, default=(), per_layer="any")

MIXER = {
    "ssm.conv_kernel": Key("ssm.d_conv", "integer", 1, 256),
    "ssm.inner_size": Key("ssm.d_inner", "integer", 1, 2**20),
    "ssm.state_size": Key("ssm.d_state", "integer", 1, 2**16),
    "ssm.time_step_rank": Key("ssm.dt_rank", "integer", 1, 2**16),
}

SSM = MIXER | {
    "ssm.time_step_rank": Key("ssm.n_heads", "integer", 1, 2**16),
    "ssm.group_count": Key("ssm.n_groups", "integer", 1, 2**16, default=1),
}
