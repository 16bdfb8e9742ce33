"""`falcon-h1`: Falcon-H1, Falcon-H1R.

Every layer has attention and a Mamba-2 mixer in parallel, on the same input; both are added to the residual
stream.  The multipliers of the paper are part of the weights.

Sources: Zuo et al. 2025 (arXiv:2507.22448); llama.cpp `src/models/falcon-h1.cpp`.
"""

from ..config.keys import SSM
from .mamba2 import mixer, mixer_tensors
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm"),
    "blk.N.ffn_norm.weight": optional("n_embd"),
    "blk.N.ffn_norm": required("n_embd", unless="ffn_norm.weight"),
    **tensors.attention(),
    **mixer_tensors(),
    **tensors.gated_ffn(),
}

INERT = {"attention.recurrent_layers": "all are, beside attention"}

_UNUSED = "no Falcon-H1 has it; llama.cpp's test model does, and leaves it aside"

INERT_TENSORS = {"rope_freqs.weight": _UNUSED, "blk.N.attn_output.bias": _UNUSED}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model, has_factors=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        both = b.add("mixed", layers.attention(b, h, c, rope, output_bias=False), mixer(b, h, c))
        x = b.add("resid_mid", x, both)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


FALCON_H1 = Architecture("falcon-h1", TENSORS, build, SSM, INERT, INERT_TENSORS)
