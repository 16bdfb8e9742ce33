"""`eurobert`: EuroBERT, Jina Embeddings 5 nano; `neo-bert`: NeoBERT.

Encoders in the shape of llama: RMS norms before the branches, RoPE and SwiGLU, without biases.  EuroBERT has
NeoX RoPE pairs; NeoBERT has neighbouring values as pairs, and gate and up in one matrix.

Sources: Boizard et al. 2025, "EuroBERT" (arXiv:2503.05500); Le Breton et al. 2025, "NeoBERT"
(arXiv:2502.19587); llama.cpp `src/models/eurobert.cpp`, `neo-bert.cpp`.
"""

from ...kernels.choices import Pairing
from ..config.keys import NOT_CAUSAL
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors
from .parts.classifier import DEEP_CLASSIFIER, classifier

EURO_TENSORS = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "output_norm.weight": required("n_embd"),
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}

NEO_TENSORS = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "enc.output_norm.weight": required("n_embd"),
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.fused_ffn(),
    **DEEP_CLASSIFIER,
}


def build_euro(g: Graph, model: Config) -> None:
    layers.encoder_end(g, build_blocks(g, model, "neox"), model, g.rms_norm)


def build_neo(g: Graph, model: Config) -> None:
    layers.encoder_end(g, build_blocks(g, model, "norm"), model, g.rms_norm, "enc.output_norm")


def build_blocks(g: Graph, model: Config, pairing: Pairing) -> str:
    rope = rope_table(g, model, has_factors=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, pairing, is_causal=False))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    return x


EUROBERT = Architecture("eurobert", EURO_TENSORS, build_euro, inert=NOT_CAUSAL)
NEO_BERT = Architecture("neo-bert", NEO_TENSORS, build_neo, inert=NOT_CAUSAL, build_pooled=classifier)
