"""`phi3`: Phi-3, Phi-3.5 and Phi-4.

As llama, with queries, keys and values in one matrix, gate and up in another, and RoPE on a part of each head
where the file says so, stretched by LongRoPE for long contexts.

Sources: Abdin et al. 2024 (arXiv:2404.14219); llama.cpp `src/models/phi3.cpp`.
"""

from ..config.config import Config
from ..config.tensor_table import optional
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts.layers import attention, blocks, gated_ffn, head
from .parts.rope import rope_table
from .parts.tensors import HEAD, ROPE_FACTORS, fused_ffn, norms
from .parts.tensors import attention as attention_tensors

TENSORS = {
    **HEAD,
    "output.bias": optional("n_vocab"),
    **ROPE_FACTORS,
    **norms("attn_norm", "ffn_norm"),
    **attention_tensors(),
    **fused_ffn(),
}

INERT = {
    "attention.sliding_window": "llama.cpp lets every layer see all positions, since files have it wrong",
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, gated_ffn(b, h, c))
    head(g, x, model, g.rms_norm)


PHI3 = Architecture("phi3", TENSORS, build, inert=INERT)
