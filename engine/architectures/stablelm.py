"""`stablelm`: StableLM 2, StableLM 3B.

As llama, with NeoX RoPE pairs, layer norms and RoPE on a part of each head.  The 12B model has a norm on
every head of queries and keys, and its feed-forward layer is in parallel with attention, on the same norm.

Sources: Bellagente et al. 2024 (arXiv:2402.17834); llama.cpp `src/models/stablelm.cpp`.
"""

from ..config.keys import LAYER_NORM
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

INERT = {"use_parallel_residual": "follows from whether the file has ffn_norm"}

TENSORS = {
    **tensors.HEAD,
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm"),
    **tensors.attention(),
    "blk.N.attn_q_norm.weight": optional("n_heads", "head_dim"),
    "blk.N.attn_k_norm.weight": optional("n_kv_heads", "head_dim"),
    "blk.N.ffn_norm.weight": optional("n_embd"),
    "blk.N.ffn_norm.bias": optional("n_embd"),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        normed = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, normed, c, rope, layer_norms=True))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps) if b.has("ffn_norm") else normed
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.layer_norm)


STABLELM = Architecture("stablelm", TENSORS, build, LAYER_NORM, INERT)
