"""`muse-glimmer`: Muse Glimmer.

Norms before and after each branch, and on every head of queries and keys; the embedding has a norm without
weight; attention has an output gate.  Only layers with a sliding window have RoPE.

Source: llama.cpp `src/models/muse-glimmer.cpp`.
"""

from ..config.keys import SCALES, SLIDING_WINDOW, Key, optional_float, sliding_pattern
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(4),
    "final_logit_softcapping": optional_float("final_soft_cap", 30.0),
    "logit_scale": SCALES["logit_scale"],
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=0.0, or_zero=True),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
    **tensors.attention(),
    "blk.N.attn_gate.weight": required("heads_width", "n_embd"),
    **tensors.qk_norms(),
    **tensors.gated_ffn(),
}

POST_NORM_EPS = 1e-8


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model, base=model.rope.freq_base_swa, is_stretched=False)
    x = g.embed("token_embd", "token_embd")
    x = g.plain_rms_norm("token_embd_norm", x, model.norm_eps)
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        if c.is_sliding:
            h = layers.attention(b, h, c, rope, "norm", window=c.sliding_window)
        else:
            h = layers.attention(b, h, c)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", POST_NORM_EPS)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = b.rms_norm("post_ffw_norm", layers.gated_ffn(b, h, c), "post_ffw_norm", POST_NORM_EPS)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm, model.logit_scale)


MUSE_GLIMMER = Architecture("muse-glimmer", TENSORS, build, KEYS)
