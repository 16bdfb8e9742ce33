"""`laguna`: Poolside's Laguna; `spark2_5`: Spark 2.5.

Most layers have a sliding window and a RoPE table of their own; attention has an output gate, per head or per
value.  Laguna has a norm on every head of queries and keys, and leading dense layers, then mixtures of
experts with sigmoid gating, a selection bias and a shared expert; YaRN stretches only the global layers.
Spark is dense, with GEGLU feed-forward layers.

Sources: Poolside 2026, "Laguna"; iFlytek 2026, "Spark 2.5"; llama.cpp `src/models/laguna.cpp`,
`spark2-5.cpp`.
"""

from ..config.keys import (
    EXPERTS,
    HEADS_BY_LAYER,
    N_ROT_SWA,
    REQUIRED,
    ROPE_BASE_SWA,
    SLIDING_WINDOW,
    Key,
    sliding_pattern,
)
from .parts import Architecture, Config, Graph, layers, required, rope_table, rope_table_swa, tensors

WINDOW_KEYS = (
    HEADS_BY_LAYER
    | ROPE_BASE_SWA
    | {"attention.sliding_window": SLIDING_WINDOW, "rope.dimension_count_swa": N_ROT_SWA}
)

LAGUNA_KEYS = (
    EXPERTS
    | WINDOW_KEYS
    | {
        "attention.sliding_window_pattern": sliding_pattern(4, dense_first=True),
        "expert_shared_count": Key("moe.n_shared", "integer", 0, 2**10, default=1),
    }
)

SPARK_KEYS = WINDOW_KEYS | {"attention.sliding_window_pattern": sliding_pattern(REQUIRED)}

COMMON = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
}

LAGUNA_TENSORS = {
    **COMMON,
    **tensors.qk_norms(),
    "blk.N.attn_gate.weight": required("n_heads|heads_width", "n_embd"),
    **tensors.experts(),
    **tensors.shared_expert(),
}

SPARK_TENSORS = {**COMMON, "blk.N.attn_gate.weight": required("n_heads", "n_embd")}


def build_laguna(g: Graph, model: Config) -> None:
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    table, table_swa = rope_table(g, model), rope_table_swa(g, model, is_stretched=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table_swa if c.is_sliding else table

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, window=c.window, gate="softplus"))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def build_spark(g: Graph, model: Config) -> None:
    table, table_swa = rope_table(g, model), rope_table_swa(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table_swa if c.is_sliding else table

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, window=c.window))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c, "gelu"))
    layers.head(g, x, model, g.rms_norm)


LAGUNA = Architecture("laguna", LAGUNA_TENSORS, build_laguna, LAGUNA_KEYS)
SPARK2_5 = Architecture("spark2_5", SPARK_TENSORS, build_spark, SPARK_KEYS)
