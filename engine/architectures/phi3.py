"""`phi3`: Phi-3, Phi-3.5 and Phi-4.

As llama, with NeoX RoPE pairs, queries, keys and values in one matrix, and gate and up in another.  RoPE is
on a part of each head where the file says so, stretched by LongRoPE for long contexts.

Sources: Abdin et al. 2024 (arXiv:2404.14219); llama.cpp `src/models/phi3.cpp`.
"""

from .parts import Architecture, Config, Graph, layers, optional, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    "output.bias": optional("n_vocab"),
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.fused_ffn(),
}

INERT = {
    "attention.sliding_window": "llama.cpp lets every layer see all positions, since files have it wrong",
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


PHI3 = Architecture("phi3", TENSORS, build, inert=INERT)
