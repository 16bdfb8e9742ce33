"""`arcee`: AFM 4.5B.

As llama, with a feed-forward layer without a gate, whose activation is the square of ReLU.

Sources: Arcee AI 2025, "AFM-4.5B"; So et al. 2021, "Primer" (arXiv:2109.08668); llama.cpp
`src/models/arcee.cpp`.
"""

from .parts import Architecture, Config, Graph, layers, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm"))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.ffn(b, h, "relu2"))
    layers.head(g, x, model, g.rms_norm)


ARCEE = Architecture("arcee", TENSORS, build)
