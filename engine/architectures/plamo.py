"""`plamo`: PLaMo 13B.

Attention and a SwiGLU feed-forward layer side by side, on one norm; the two halves of each head are RoPE's
pairs.

Sources: Preferred Networks 2023, "PLaMo-13B"; llama.cpp `src/models/plamo.cpp`.
"""

from ..config.config import Config
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts.layers import attention, blocks, gated_ffn, head
from .parts.rope import rope_table
from .parts.tensors import HEAD, norms
from .parts.tensors import attention as attention_tensors
from .parts.tensors import gated_ffn as ffn_tensors

TENSORS = {**HEAD, **norms("attn_norm"), **attention_tensors(), **ffn_tensors()}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        normed = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, attention(b, normed, c, rope))
        x = b.add("resid_post", x, gated_ffn(b, normed, c))
    head(g, x, model, g.rms_norm)


PLAMO = Architecture("plamo", TENSORS, build)
