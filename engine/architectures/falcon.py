"""`falcon`: Falcon 7B, 40B and 180B.

Attention and a feed-forward layer with GELU side by side, on one layer norm, or on one each where the file
has a second; queries, keys and values in one matrix.

Sources: Almazrouei et al. 2023 (arXiv:2311.16867); llama.cpp `src/models/falcon.cpp`.
"""

from ..config.config import Config
from ..config.keys import LAYER_NORM
from ..config.tensor_table import optional, required
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts.layers import attention, blocks, ffn, head
from .parts.rope import rope_table
from .parts.tensors import HEAD, norms_with_bias
from .parts.tensors import attention as attention_tensors
from .parts.tensors import ffn as ffn_tensors

TENSORS = {
    **HEAD,
    "output_norm.bias": required("n_embd"),
    **norms_with_bias("attn_norm"),
    "blk.N.attn_norm_2.weight": optional("n_embd"),
    "blk.N.attn_norm_2.bias": optional("n_embd"),
    **attention_tensors(),
    **ffn_tensors(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        normed = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        has_second = b.has("attn_norm_2")
        h = b.layer_norm("attn_norm_2", x, "attn_norm_2", c.norm_eps) if has_second else normed
        x = b.add("resid_mid", x, attention(b, h, c, rope))
        x = b.add("resid_post", x, ffn(b, normed, "gelu"))
    head(g, x, model, g.layer_norm)


FALCON = Architecture("falcon", TENSORS, build, LAYER_NORM)
