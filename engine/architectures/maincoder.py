"""`maincoder`: Maincoder 1B.

As llama, with a norm on every head of queries and keys, after RoPE.

Sources: Maincode 2025, "Maincoder-1B"; llama.cpp `src/models/maincoder.cpp`.
"""

from .parts import Architecture, Config, Graph, layers, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm", norms_after_rope=True))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


MAINCODER = Architecture("maincoder", TENSORS, build)
