"""`grok`: Grok 1 and 2.

Norms after each branch too, and a mixture of experts with GELU, in Grok 2 added to a dense feed-forward
layer; a soft cap on attention scores, and factors on the embedding, the scores and the logits.

Sources: xAI 2024, 2025, "Open release of Grok-1", "Grok-2"; llama.cpp `src/models/grok.cpp`.
"""

from ..config.keys import EXPERT_COUNTS, Key, optional_float
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

# The defaults are those of Grok 1, whose old files lack these keys.
KEYS = EXPERT_COUNTS | {
    "expert_feed_forward_length": Key("moe.n_ff", "integer", 0, 2**24, default=None, per_layer="same"),
    "embedding_scale": optional_float("embedding_scale", 78.38367176906169),
    "logit_scale": optional_float("logit_scale", 0.5773502691896257),
    "attention.output_scale": optional_float("attention_scale", 0.08838834764831845),
    "attn_logit_softcapping": optional_float("attn_soft_cap", 30.0),
    "final_logit_softcapping": optional_float("final_soft_cap", 0.0),
    "rope.scaling.yarn_ext_factor": Key("rope.yarn_ext_factor", "float", -1e6, 1e6, default=1.0),
    "rope.scaling.yarn_beta_fast": Key("rope.yarn_beta_fast", "float", 0, 1e6, default=8.0),
}

INERT = {
    "router_logit_softcapping": "llama.cpp reads it, and caps nothing before experts are chosen",
    "attention.temperature_length": "llama.cpp reads it, and does not sharpen attention",
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "attn_output_norm", "ffn_norm"),
    "blk.N.layer_output_norm.weight": optional("n_embd"),
    "blk.N.post_ffw_norm.weight": required("n_embd", unless="layer_output_norm.weight"),
    **tensors.attention(),
    "blk.N.ffn_gate.weight": optional("n_ff", "n_embd"),
    "blk.N.ffn_up.weight": optional("n_ff", "n_embd"),
    "blk.N.ffn_down.weight": optional("n_embd", "n_ff"),
    **tensors.experts(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd", scale=model.embedding_scale)
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope)
        h = b.rms_norm("post_attn_norm", h, "attn_output_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        normed = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts(b, normed, c, "softmax", is_normalized=True, activation=b.gelu_mul, out="moe_out")
        if b.has("ffn_up"):
            h = b.add("ffn_sum", layers.gated_ffn(b, normed, c, "gelu"), h)
            h = b.scale("ffn_scaled", h, 0.5**0.5)
        post = "layer_output_norm" if b.has("layer_output_norm") else "post_ffw_norm"
        h = b.rms_norm("post_ffw_norm", h, post, c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm, scale=model.logit_scale)


GROK = Architecture("grok", TENSORS, build, KEYS, INERT)
