"""`cogvlm`: the language side of CogVLM.

As llama, with NeoX RoPE pairs, whose base is always 10000. Every layer has a second set of matrices, for
image tokens; text does not use them.

Sources: Wang et al. 2023 (arXiv:2311.03079); llama.cpp `src/models/cogvlm.cpp`.
"""

from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    "blk.N.attn_qkv.weight": required("qkv_width", "n_embd"),
    "blk.N.attn_output.weight": required("n_embd", "heads_width"),
    **tensors.gated_ffn(),
    "rope_freqs.weight": optional("rope.n_rot/2"),
    "blk.N.vis_attn_qkv.weight": optional("qkv_width", "n_embd"),
    "blk.N.vis_attn_output.weight": optional("n_embd", "heads_width"),
    "blk.N.vis_gate.weight": optional("n_ff", "n_embd"),
    "blk.N.vis_up.weight": optional("n_ff", "n_embd"),
    "blk.N.vis_down.weight": optional("n_embd", "n_ff"),
}

_PICTURES = "for image tokens, of which text has none"

INERT_TENSORS = {
    "rope_freqs.weight": "llama.cpp rotates by the frequencies of base 10000 alone; so do we",
    **{f"blk.N.vis_{name}.weight": _PICTURES for name in ("attn_qkv", "attn_output", "gate", "up", "down")},
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model, base=10000.0, is_stretched=False, has_factors=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


COGVLM = Architecture("cogvlm", TENSORS, build, inert_tensors=INERT_TENSORS)
