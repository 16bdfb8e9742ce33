"""`bitnet`: BitNet b1.58.

As llama, with NeoX RoPE pairs and one more norm before the output matrices of attention and of the
feed-forward layer.  Matrices are ternary, and each may have a scale; the embedding is also the head.

Sources: Ma et al. 2024 (arXiv:2402.17764); llama.cpp `src/models/bitnet.cpp`.
"""

from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

TENSORS = {
    **{name: shape for name, shape in tensors.HEAD.items() if name != "output.weight"},
    **tensors.norms("attn_norm", "attn_sub_norm", "ffn_norm"),
    "blk.N.ffn_sub_norm.weight": required("n_ff"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, sub_norm="attn_sub_norm"))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c, sub_norm="ffn_sub_norm"))
    layers.head(g, x, model, g.rms_norm)


BITNET = Architecture("bitnet", TENSORS, build)
