"""`olmo`: OLMo 1.

As llama, with layer norms that have no weights, and in some models clamped queries, keys and values.

Sources: Groeneveld et al. 2024 (arXiv:2402.00838); llama.cpp `src/models/olmo.cpp`.
"""

from ..config.keys import LAYER_NORM, optional_float
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = LAYER_NORM | {"attention.clamp_kqv": optional_float("clamp_qkv", 0.0)}

TENSORS = {
    "token_embd.weight": tensors.HEAD["token_embd.weight"],
    "output.weight": tensors.HEAD["output.weight"],
    **tensors.attention(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.plain_layer_norm("attn_norm", x, c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm"))

        h = b.plain_layer_norm("ffn_norm", x, c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, lambda out, x, _, eps: g.plain_layer_norm(out, x, eps))


OLMO = Architecture("olmo", TENSORS, build, KEYS)
