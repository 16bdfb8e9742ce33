"""`orion`: Orion 14B; `jais`: Jais 13B and 30B, the Jais family.

As llama, with layer norms.  Orion has NeoX RoPE pairs.  Jais has ALiBi instead of RoPE, biases, one matrix
for queries, keys and values, and divides scores by the width of a head instead of its square root.

Sources: OrionStar 2024 (arXiv:2401.12246); Sengupta et al. 2023 (arXiv:2308.16149); llama.cpp
`src/models/orion.cpp`, `jais.cpp`.
"""

from ..config.keys import LAYER_NORM, optional_float
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

JAIS_KEYS = LAYER_NORM | {"attention.max_alibi_bias": optional_float("alibi_bias", 0.0)}

TENSORS = {
    **tensors.HEAD,
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    is_jais = model.architecture == "jais"
    rope = "" if is_jais else rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, scale=1 / c.head_dim if is_jais else 0.0))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.layer_norm)


ORION = Architecture("orion", TENSORS, build, LAYER_NORM)
JAIS = Architecture("jais", TENSORS, build, JAIS_KEYS)
