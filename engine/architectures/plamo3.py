"""`plamo3`: PLaMo 3.

Norms after each branch too, and on every head of queries and keys; one matrix for queries, keys and values,
and one for gate and up.  Seven of eight layers have a sliding window and a RoPE base of their own.

Sources: Preferred Networks 2025, "PLaMo 3"; llama.cpp `src/models/plamo3.cpp`.
"""

from ..config.keys import SLIDING_WINDOW, Key, sliding_pattern
from .parts import Architecture, Config, Graph, layers, required, rope_table, rope_table_swa, tensors

KEYS = {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(8),
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=10000.0),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    "blk.N.post_attention_norm": required("n_embd"),
    "blk.N.post_ffw_norm": required("n_embd"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.fused_ffn(),
}


def build(g: Graph, model: Config) -> None:
    global_rope = rope_table(g, model)
    local_rope = rope_table_swa(g, model, is_stretched=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = local_rope if c.is_sliding else global_rope

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope, window=c.window)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.gated_ffn(b, h, c)
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


PLAMO3 = Architecture("plamo3", TENSORS, build, KEYS)
