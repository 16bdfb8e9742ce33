"""`falcon`: Falcon 7B, 40B and 180B.

Attention and a feed-forward layer with GELU in parallel, on one layer norm, or on one each if the file has a
second; queries, keys and values in one matrix.

Sources: Almazrouei et al. 2023 (arXiv:2311.16867); llama.cpp `src/models/falcon.cpp`.
"""

from ..config.keys import LAYER_NORM
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm"),
    "blk.N.attn_norm_2.weight": optional("n_embd"),
    "blk.N.attn_norm_2.bias": optional("n_embd"),
    **tensors.attention(),
    **tensors.ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        normed = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        has_second = b.has("attn_norm_2")
        h = b.layer_norm("attn_norm_2", x, "attn_norm_2", c.norm_eps) if has_second else normed
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))
        x = b.add("resid_post", x, layers.ffn(b, normed, "gelu"))
    layers.head(g, x, model, g.layer_norm)


FALCON = Architecture("falcon", TENSORS, build, LAYER_NORM)
