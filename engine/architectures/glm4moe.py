"""`glm4moe`: GLM-4.5, GLM-4.5-Air, GLM-4.6 and 4.7.

Leading dense layers, then mixtures of experts with sigmoid gating, a selection bias and a shared expert; a
norm on every head of queries and keys in the large models; RoPE on a part of each head.  The tensor
post_attention_norm is the norm before the feed-forward layer.

Sources: GLM Team 2025 (arXiv:2508.06471); llama.cpp `src/models/glm4-moe.cpp`.
"""

from ..config.keys import EXPERTS, ROPE_SECTIONS
from .parts import Architecture, Config, Graph, layers, optional, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm"),
    **tensors.attention(),
    "blk.N.attn_q_norm.weight": optional("head_dim"),
    "blk.N.attn_k_norm.weight": optional("head_dim"),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "post_attention_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


GLM4MOE = Architecture("glm4moe", TENSORS, build, EXPERTS | ROPE_SECTIONS)
