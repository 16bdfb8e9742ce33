"""`plamo`: PLaMo 13B.

Attention and a SwiGLU feed-forward layer in parallel, on one norm; NeoX RoPE pairs.

Sources: Preferred Networks 2023, "PLaMo-13B"; llama.cpp `src/models/plamo.cpp`.
"""

from .parts import Architecture, Config, Graph, layers, rope_table, tensors

TENSORS = tensors.HEAD | tensors.norms("attn_norm") | tensors.attention() | tensors.gated_ffn()


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        normed = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, normed, c, rope))
        x = b.add("resid_post", x, layers.gated_ffn(b, normed, c))
    layers.head(g, x, model, g.rms_norm)


PLAMO = Architecture("plamo", TENSORS, build)
