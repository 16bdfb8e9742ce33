"""`arctic`: Snowflake Arctic.

As llama, with a dense feed-forward layer and a mixture of experts in every layer.  The mixture reads the
input of the block, through a norm of its own, and its output is added after the dense layer.

Sources: Snowflake 2024, "Snowflake Arctic"; llama.cpp `src/models/arctic.cpp`.
"""

from ..config.keys import EXPERT_COUNTS
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm", "ffn_norm_exps"),
    **tensors.attention(),
    "blk.N.ffn_gate.weight": required("n_embd", "n_embd"),
    "blk.N.ffn_up.weight": required("n_embd", "n_embd"),
    "blk.N.ffn_down.weight": required("n_embd", "n_embd"),
    **tensors.experts(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        mid = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm"))

        h = b.rms_norm("ffn_norm", mid, "ffn_norm", c.norm_eps)
        dense = b.add("resid_dense", mid, layers.gated_ffn(b, h, c))

        h = b.rms_norm("ffn_norm_exps", x, "ffn_norm_exps", c.norm_eps)
        x = b.add("resid_post", dense, layers.experts(b, h, c, "softmax", is_normalized=True, out="moe_out"))
    layers.head(g, x, model, g.rms_norm)


ARCTIC = Architecture("arctic", TENSORS, build, EXPERT_COUNTS)
