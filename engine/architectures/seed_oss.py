"""`seed_oss`: Seed-OSS 36B.

As qwen2; what the file calls post_attention_norm stands before the feed-forward layer.

Sources: ByteDance Seed 2025, "Seed-OSS"; llama.cpp `src/models/seed-oss.cpp`.
"""

from ..config.config import Config
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts import layers, tensors
from .parts.rope import rope_table

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "post_attention_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


SEED_OSS = Architecture("seed_oss", TENSORS, build)
