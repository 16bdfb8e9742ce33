"""`cohere2moe`: Command A with mixtures of experts.

As cohere2, with leading dense layers, then mixtures of experts, whose output is averaged with that of a
shared expert.  RoPE in the layers with a sliding window and in the dense ones; the first of every four layers
is global.  The norms are RMS norms if the metadata has their epsilon, and layer norms otherwise.

Sources: llama.cpp `src/models/cohere2moe.cpp`.
"""

from dataclasses import replace

from ...errors import ModelError
from ..config.keys import EXPERTS, REQUIRED, Key, optional_float, sliding_pattern
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = EXPERTS | {
    "attention.layer_norm_epsilon": Key("norm_eps", "float", 0, 1, default=0.0, or_zero=True),
    "attention.layer_norm_rms_epsilon": Key("rms_norm_eps", "float", 0, 1, default=0.0, or_zero=True),
    "attention.sliding_window": Key("sliding_window", "integer", 0, 2**31 - 1),
    "attention.sliding_window_pattern": sliding_pattern(4, dense_first=True),
    "expert_feed_forward_length": Key("moe.n_ff", "integer", 0, 2**24, default=None, per_layer="same"),
    "logit_scale": optional_float("logit_scale", REQUIRED),
}

INERT = {"rope.freq_base_swa": "llama.cpp uses rope.freq_base in all layers"}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}


def build(g: Graph, model: Config) -> None:
    norm_name = "rms_norm" if model.rms_norm_eps else "layer_norm"
    model = replace(model, norm_eps=model.rms_norm_eps or model.norm_eps)
    if not model.norm_eps:
        raise ModelError("the metadata lacks cohere2moe.attention.layer_norm_epsilon, which the model needs")
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    table = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table if c.is_sliding or c.is_dense else ""

        normed = getattr(b, norm_name)("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, normed, c, rope, "norm", window=c.window))
        if c.is_dense:
            h = layers.gated_ffn(b, normed, c)
        else:
            h = layers.experts(b, normed, c, gating, is_normalized=c.moe.weights_norm)
            h = b.scale("ffn_scaled", h, 0.5 if c.has_shared_expert else 1.0)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, getattr(g, norm_name), scale=model.logit_scale or 1.0)


COHERE2MOE = Architecture("cohere2moe", TENSORS, build, KEYS, INERT)
