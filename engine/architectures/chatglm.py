"""`chatglm`: ChatGLM 2 and 3, GLM-4-9B of 2024, GLM-Edge.

As llama, with RoPE on a part of each head, and gate and up in one matrix.

Sources: GLM Team 2024 (arXiv:2406.12793); llama.cpp `src/models/chatglm.cpp`.
"""

from ..config.config import Config
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts import layers, tensors
from .parts.rope import rope_table

TENSORS = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention() | tensors.fused_ffn()


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm"))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


CHATGLM = Architecture("chatglm", TENSORS, build)
