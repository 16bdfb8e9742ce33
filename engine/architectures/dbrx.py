"""`dbrx`: DBRX.

A mixture of experts in every layer, layer norms without bias, and one matrix for queries, keys and values,
which are clamped.  The tensor attn_output_norm is the norm before the experts.

Sources: Databricks 2024, "Introducing DBRX"; llama.cpp `src/models/dbrx.cpp`.
"""

from ..config.keys import EXPERT_COUNTS, LAYER_NORM, optional_float
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = LAYER_NORM | EXPERT_COUNTS | {"attention.clamp_kqv": optional_float("clamp_qkv", 0.0)}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "attn_output_norm"),
    **tensors.attention(),
    **tensors.experts(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.layer_norm("ffn_norm", x, "attn_output_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.experts(b, h, c, "softmax", is_normalized=True))
    layers.head(g, x, model, g.layer_norm)


DBRX = Architecture("dbrx", TENSORS, build, KEYS)
