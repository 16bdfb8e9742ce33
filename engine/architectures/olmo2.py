"""`olmo2`: OLMo 2 and 3.

Norms after each branch instead of before it, and one over all heads of queries and one of keys.  OLMo 3 has a
sliding window in three of four layers, and stretches the context of the global layers only.

Sources: OLMo Team 2024 (arXiv:2501.00656); llama.cpp `src/models/olmo2.cpp`.
"""

from ..config.keys import SLIDING_WINDOW, sliding_pattern
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(4),
}

INERT = {"rope.freq_base_swa": "llama.cpp uses rope.freq_base in all layers"}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("post_attention_norm", "post_ffw_norm"),
    **tensors.attention(),
    "blk.N.attn_q_norm.weight": required("q_width"),
    "blk.N.attn_k_norm.weight": required("kv_width"),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    global_rope = rope_table(g, model)
    local_rope = rope_table(g, model, "rope_swa", is_stretched=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = local_rope if c.is_sliding else global_rope

        h = layers.attention(b, x, c, rope, window=c.window)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = layers.gated_ffn(b, x, c)
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


OLMO2 = Architecture("olmo2", TENSORS, build, KEYS, INERT)
