"""`orion`: Orion 14B; `jais`: Jais 13B and 30B, the Jais family.

As llama, with layer norms.  Orion's pairs for RoPE are the two halves of each head.  Jais has ALiBi instead,
biases, queries, keys and values in one matrix, and divides scores by a head's width, not by its root.

Sources: OrionStar 2024 (arXiv:2401.12246); Sengupta et al. 2023 (arXiv:2308.16149); llama.cpp
`src/models/orion.cpp`, `jais.cpp`.
"""

from ..config.config import Config
from ..config.keys import LAYER_NORM, optional_float
from ..config.tensor_table import required
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts.layers import attention, blocks, gated_ffn, head
from .parts.rope import rope_table
from .parts.tensors import HEAD, norms_with_bias
from .parts.tensors import attention as attention_tensors
from .parts.tensors import gated_ffn as ffn_tensors

JAIS_KEYS = LAYER_NORM | {"attention.max_alibi_bias": optional_float("alibi_bias", 0.0)}

TENSORS = {
    **HEAD,
    "output_norm.bias": required("n_embd"),
    **norms_with_bias("attn_norm", "ffn_norm"),
    **attention_tensors(),
    **ffn_tensors(),
}


def build(g: Graph, model: Config) -> None:
    is_jais = model.architecture == "jais"
    rope = "" if is_jais else rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, attention(b, h, c, rope, scale=1 / c.head_dim if is_jais else 0.0))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, gated_ffn(b, h, c))
    head(g, x, model, g.layer_norm)


ORION = Architecture("orion", TENSORS, build, LAYER_NORM)
JAIS = Architecture("jais", TENSORS, build, JAIS_KEYS)
