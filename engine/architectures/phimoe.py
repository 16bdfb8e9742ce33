"""`phimoe`: Phi-3.5-MoE, Phi-mini-MoE.

As phi3, with a mixture of experts in every layer, and biases, on norms too.  The norms are layer norms in the
original; llama.cpp computes RMS norms with a bias, and so do we.

Sources: Abdin et al. 2024 (arXiv:2404.14219); llama.cpp `src/models/phimoe.cpp`, `phi3.cpp`.
"""

from functools import partial

from ..config.keys import EXPERT_COUNTS
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors
from .phi3 import INERT

TENSORS = {
    **tensors.HEAD,
    "output.bias": required("n_vocab"),
    "output_norm.bias": required("n_embd"),
    **tensors.ROPE_FACTORS,
    **tensors.norms_with_bias("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.experts(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = norm(b, "attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = norm(b, "ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.experts(b, h, c, "softmax", is_normalized=True))
    layers.head(g, x, model, partial(norm, g))


def norm(b: Graph, out: str, x: str, weight: str, eps: float) -> str:
    """An RMS norm with a bias."""
    return b.add_vector(out, b.rms_norm(f"{out}_plain", x, weight, eps), f"{weight}.bias")


PHIMOE = Architecture("phimoe", TENSORS, build, EXPERT_COUNTS, INERT)
