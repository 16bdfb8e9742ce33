"""`exaone-moe`: K-EXAONE 236B-A23B.

As llama, with NeoX RoPE pairs and a norm on every head of queries and keys.  Three of four layers have a
sliding window and RoPE; the fourth is global, without RoPE. Leading dense layers, then mixtures of experts
with a shared expert.

Sources: LG AI Research 2026, "K-EXAONE"; llama.cpp `src/models/exaone-moe.cpp`.
"""

from ..config.keys import EXPERTS, Key, sliding_pattern
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = EXPERTS | {
    "attention.sliding_window": Key("sliding_window", "integer", 0, 2**31 - 1),
    "attention.sliding_window_pattern": sliding_pattern(4),
    "expert_gating_func": Key("moe.gating", "integer", 1, 4),
    "expert_shared_count": Key("moe.n_shared", "integer", 1, 2**10, default=1),
}

INERT = {"rope.freq_base_swa": "llama.cpp uses rope.freq_base in all layers"}

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}


def build(g: Graph, model: Config) -> None:
    table = rope_table(g, model)
    gating = layers.GATINGS[model.moe.gating]
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table if c.is_sliding else ""

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, window=c.window))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


EXAONE_MOE = Architecture("exaone-moe", TENSORS, build, KEYS, INERT)
