"""`bloom`: BLOOM, BLOOMZ; `mpt`: MPT 7B and 30B, Replit Code.

ALiBi, layer norms, one matrix for queries, keys and values, and a feed-forward layer with GELU. BLOOM
normalizes the embedding and has biases.  MPT may clamp or normalize queries, keys and values, have learned
positions, and divide the output of GELU by scales (AWQ).

Sources: BigScience 2022 (arXiv:2211.05100); MosaicML 2023, "MPT-7B"; Press et al. 2021 (arXiv:2108.12409);
llama.cpp `src/models/bloom.cpp`, `mpt.cpp`.
"""

from dataclasses import replace

from ..config.keys import LAYER_NORM, optional_float
from .parts import Architecture, Config, Graph, layers, optional, required, tensors

MPT_KEYS = LAYER_NORM | {
    "attention.max_alibi_bias": optional_float("alibi_bias", 0.0),
    "attention.clamp_kqv": optional_float("clamp_qkv", 0.0),
}

BLOOM_TENSORS = {
    **tensors.HEAD,
    "token_embd_norm.weight": required("n_embd"),
    "token_embd_norm.bias": required("n_embd"),
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.ffn(),
}

MPT_TENSORS = {
    **tensors.HEAD,
    "position_embd.weight": optional("n_ctx_train", "n_embd"),
    "output_norm.bias": optional("n_embd"),
    **tensors.norms("attn_norm", "ffn_norm"),
    "blk.N.attn_norm.bias": optional("n_embd"),
    "blk.N.ffn_norm.bias": optional("n_embd"),
    **tensors.attention(),
    "blk.N.attn_q_norm.weight": optional("q_width"),
    "blk.N.attn_q_norm.bias": optional("q_width"),
    "blk.N.attn_k_norm.weight": optional("n_embd"),
    "blk.N.attn_k_norm.bias": optional("n_embd"),
    **tensors.ffn(),
    "blk.N.ffn.act.scales": optional("n_ff"),
}

BLOOM_INERT = {"attention.max_alibi_bias": "it is 8, whatever the file says"}

MPT_INERT_TENSORS = {
    f"blk.N.attn_k_norm.{part}": "llama.cpp normalizes keys only where queries are normalized too"
    for part in ("weight", "bias")
}


def build_bloom(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    x = g.layer_norm("token_embd_norm", x, "token_embd_norm", model.norm_eps)
    build_blocks(g, x, replace(model, alibi_bias=8.0))


def build_mpt(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    if g.has("position_embd"):
        x = g.add("input_embd", x, g.position_embed("position_embd", x, "position_embd"))
    build_blocks(g, x, model)


def build_blocks(g: Graph, x: str, model: Config) -> None:
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, layer_norms=True))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.ffn(b, h, "gelu"))
    layers.head(g, x, model, g.layer_norm)


BLOOM = Architecture("bloom", BLOOM_TENSORS, build_bloom, LAYER_NORM, BLOOM_INERT)
MPT = Architecture("mpt", MPT_TENSORS, build_mpt, MPT_KEYS, inert_tensors=MPT_INERT_TENSORS)
