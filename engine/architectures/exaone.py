"""`exaone`: EXAONE 3 and 3.5, EXAONE Deep.

As llama, with the two halves of each head as RoPE's pairs.

Sources: LG AI Research 2024 (arXiv:2408.03541, arXiv:2412.04862); llama.cpp `src/models/exaone.cpp`.
"""

from ..config.config import Config
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts import layers, tensors
from .parts.rope import rope_table

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
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


EXAONE = Architecture("exaone", TENSORS, build)
