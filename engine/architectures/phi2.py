"""`phi2`: Phi-1, Phi-1.5 and Phi-2.

Attention and a feed-forward layer with GELU side by side, on one layer norm; biases everywhere, on the head
too; RoPE on a part of each head.

Sources: Li et al. 2023 (arXiv:2309.05463); llama.cpp `src/models/phi2.cpp`.
"""

from ..config.config import Config
from ..config.keys import LAYER_NORM
from ..config.tensor_table import required
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts import layers, tensors
from .parts.rope import rope_table

TENSORS = {
    **tensors.HEAD,
    "output.bias": required("n_vocab"),
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm"),
    **tensors.attention(),
    **tensors.ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        normed = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, normed, c, rope))
        x = b.add("resid_post", x, layers.ffn(b, normed, "gelu"))
    layers.head(g, x, model, g.layer_norm)


PHI2 = Architecture("phi2", TENSORS, build, LAYER_NORM)
