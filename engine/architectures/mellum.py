"""`mellum`: Mellum 2; `maple`: Maple.

As qwen3moe, with a sliding window in most layers.  Mellum stretches RoPE in the global layers only; Maple has
RoPE in the layers with a window only, and clamps gate and up of the experts.

Sources: JetBrains 2026, "Mellum 2"; llama.cpp `src/models/mellum.cpp`, `maple.cpp`.
"""

from ..config.keys import (
    EXPERTS,
    N_ROT_SWA,
    REQUIRED,
    ROPE_BASE_SWA,
    SLIDING_WINDOW,
    SWIGLU_LIMITS,
    sliding_pattern,
)
from .parts import Architecture, Config, Graph, layers, rope_table, rope_table_swa, tensors

KEYS = EXPERTS | {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(4),
}

INERT = {"rope.freq_base_swa": "llama.cpp uses rope.freq_base in layers with a window too; so do we"}

MAPLE_KEYS = (
    KEYS
    | ROPE_BASE_SWA
    | {
        "attention.sliding_window_pattern": sliding_pattern(REQUIRED),
        "rope.dimension_count_swa": N_ROT_SWA,
        "swiglu_clamp_exp": SWIGLU_LIMITS["swiglu_clamp_exp"],
    }
)

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.experts(),
}


def build(g: Graph, model: Config) -> None:
    if model.architecture == "maple":
        table, table_swa = "", rope_table_swa(g, model)
    else:
        table, table_swa = rope_table(g, model), rope_table(g, model, "rope_swa", is_stretched=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table_swa if c.is_sliding else table
        activation = layers.limited_swiglu(b, c.moe.swiglu_limit)

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, window=c.window))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts(b, h, c, "softmax", is_normalized=True, activation=activation)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


MELLUM = Architecture("mellum", TENSORS, build, KEYS, INERT)
MAPLE = Architecture("maple", TENSORS, build, MAPLE_KEYS)
