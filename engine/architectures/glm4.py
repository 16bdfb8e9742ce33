"""`glm4`: GLM-4-0414, GLM-Z1, and the text side of GLM-4.1V.

As llama, with norms after each branch too, gate and up in one matrix, and RoPE on a part of each head.

Sources: GLM Team 2024 (arXiv:2406.12793); llama.cpp `src/models/glm4.cpp`.
"""

from ...kernels.choices import Pairing
from ..config.keys import ROPE_SECTIONS
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
    **tensors.attention(),
    **tensors.fused_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    # In files with M-RoPE sections the rows are in the order of NeoX pairs.
    pairing: Pairing = "neox" if model.rope.sections and all(model.rope.sections[:2]) else "norm"
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope, pairing)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.gated_ffn(b, h, c)
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


GLM4 = Architecture("glm4", TENSORS, build, ROPE_SECTIONS)
