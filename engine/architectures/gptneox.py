"""`gptneox`: GPT-NeoX, Pythia, Dolly, RedPajama.

Layer norms, biases, one matrix for queries, keys and values, RoPE on a part of each head, a feed-forward
layer with GELU, and in most models both branches in parallel: x + attention(norm(x)) + ffn(another norm(x)).

Sources: Black et al. 2022 (arXiv:2204.06745); llama.cpp `src/models/gptneox.cpp`.
"""

from ..config.keys import LAYER_NORM, Key
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = LAYER_NORM | {"use_parallel_residual": Key("is_parallel", "boolean")}

TENSORS = {
    **tensors.HEAD,
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        mid = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.layer_norm("ffn_norm", x if c.is_parallel else mid, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", mid, layers.ffn(b, h, "gelu"))
    layers.head(g, x, model, g.layer_norm)


GPTNEOX = Architecture("gptneox", TENSORS, build, KEYS)
