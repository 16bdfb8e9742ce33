"""`lfm2`: LFM2; `lfm2moe`: LFM2-8B-A1B.

Most layers have a short convolution between two gates in place of attention: those without key heads.
Attention has a norm on every head of queries and keys.  The tensor token_embd_norm is the norm before the
head.

Sources: Liquid AI 2025 (arXiv:2511.23404); llama.cpp `src/models/lfm2.cpp`, `lfm2moe.cpp`.
"""

from ..config.keys import EXPERTS, HEAD_COUNTS, SLIDING_WINDOW, Key
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

INERT = {
    "attention.recurrent_layers": "follows from attention.head_count_kv",
    "attention.sliding_window_pattern": "all layers with attention have the window, if there is one",
}

KEYS = HEAD_COUNTS | {
    "attention.sliding_window": SLIDING_WINDOW,
    "shortconv.l_cache": Key("shortconv_size", "integer", 2, 256),
}

TENSORS = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "token_embd_norm.weight": required("n_embd"),
    "output.weight": optional("n_vocab", "n_embd"),
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(when="has_attention"),
    **tensors.qk_norms(when="has_attention"),
    "blk.N.shortconv.in_proj.weight": required("3*n_embd", "n_embd", when="is_recurrent"),
    "blk.N.shortconv.conv.weight": required("n_embd", "shortconv_size", when="is_recurrent"),
    "blk.N.shortconv.out_proj.weight": required("n_embd", "n_embd", when="is_recurrent"),
    **tensors.gated_ffn(when="is_dense"),
}

MOE_TENSORS = TENSORS | tensors.experts()


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        if c.is_recurrent:
            h = short_conv(b, h, c)
        else:
            h = layers.attention(b, h, c, rope, window=c.sliding_window)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=True)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm, norm_weight="token_embd_norm")


def short_conv(b: Graph, h: str, c: Config) -> str:
    """A short convolution with a gate before and a gate after it."""
    n = c.n_embd
    before = b.linear("conv_gate_in", h, "shortconv.in_proj", (0, n))
    after = b.linear("conv_gate_out", h, "shortconv.in_proj", (n, 2 * n))
    h = b.linear("conv_x", h, "shortconv.in_proj", (2 * n, 3 * n))
    h = b.causal_conv("conv", b.mul("conv_in", before, h), "shortconv.conv")
    return b.linear("conv_out", b.mul("conv_gated", after, h), "shortconv.out_proj")


LFM2 = Architecture("lfm2", TENSORS, build, KEYS, INERT)
LFM2MOE = Architecture("lfm2moe", MOE_TENSORS, build, KEYS | EXPERTS, INERT)
