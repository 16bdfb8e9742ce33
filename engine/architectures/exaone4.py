"""`exaone4`: EXAONE 4.0.

Norms after each branch instead of before it, and on every head of queries and keys.  In the 32B model, which
is the one with 64 layers, three of four layers have a sliding window and RoPE; the fourth is global, without
RoPE. The 1.2B model has RoPE in all layers and no windows.

Sources: LG AI Research 2025 (arXiv:2507.11407); llama.cpp `src/models/exaone4.cpp`.
"""

from ..config.keys import Key, sliding_pattern
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

N_LAYERS_OF_32B = 64

KEYS = {
    "attention.sliding_window": Key("sliding_window", "integer", 0, 2**31 - 1, default=4096),
    "attention.sliding_window_pattern": sliding_pattern(4),
}

INERT = {"rope.freq_base_swa": "llama.cpp uses rope.freq_base in all layers"}

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.norms("post_attention_norm", "post_ffw_norm"),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    table = rope_table(g, model)
    is_mixed = model.n_layers == N_LAYERS_OF_32B
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table if c.is_sliding or not is_mixed else ""
        window = c.window if is_mixed else 0

        h = layers.attention(b, x, c, rope, window=window)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = layers.gated_ffn(b, x, c)
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


EXAONE4 = Architecture("exaone4", TENSORS, build, KEYS, INERT)
