"""`bitnet`: BitNet b1.58.

As llama, with one more norm before the output matrix of attention and of the feed-forward layer, and the two
halves of each head as RoPE's pairs.  Matrices are ternary, and may have a scale of their own each; the
embedding is the head.

Sources: Ma et al. 2024 (arXiv:2402.17764); llama.cpp `src/models/bitnet.cpp`.
"""

from ..config.config import Config
from ..config.tensor_table import required
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts.layers import attention, blocks, gated_ffn, head
from .parts.rope import rope_table
from .parts.tensors import HEAD, norms
from .parts.tensors import attention as attention_tensors
from .parts.tensors import gated_ffn as ffn_tensors

TENSORS = {
    **{name: shape for name, shape in HEAD.items() if name != "output.weight"},
    **norms("attn_norm", "attn_sub_norm", "ffn_norm"),
    "blk.N.ffn_sub_norm.weight": required("n_ff"),
    **attention_tensors(),
    **ffn_tensors(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, attention(b, h, c, rope, sub_norm="attn_sub_norm"))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, gated_ffn(b, h, c, sub_norm="ffn_sub_norm"))
    head(g, x, model, g.rms_norm)


BITNET = Architecture("bitnet", TENSORS, build)
