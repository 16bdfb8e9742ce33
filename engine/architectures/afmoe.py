"""`afmoe`: Arcee's Trinity.

Norms before and after each branch, a norm on every head of queries and keys, and a gate on the output of
attention.  Every fourth layer is global and has no RoPE; the others have a sliding window.  Leading dense
layers, then mixtures of experts with sigmoid gating, a selection bias and a shared expert.  The embedding is
scaled by sqrt(n_embd).

Sources: Arcee AI 2026, "Trinity"; llama.cpp `src/models/afmoe.cpp`.
"""

from ..config.keys import EXPERTS, ROPE_BASE_SWA, SLIDING_WINDOW, sliding_pattern
from .parts import Architecture, Config, Graph, layers, required, rope_table, rope_table_swa, tensors

NO_ROPE_EVERY = 4

KEYS = (
    EXPERTS
    | ROPE_BASE_SWA
    | {
        "attention.sliding_window": SLIDING_WINDOW,
        "attention.sliding_window_pattern": sliding_pattern(4),
    }
)

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    "blk.N.attn_gate.weight": required("heads_width", "n_embd"),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}


def build(g: Graph, model: Config) -> None:
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    table, table_swa = rope_table(g, model), rope_table_swa(g, model)
    x = g.embed("token_embd", "token_embd", scale=model.n_embd**0.5)
    for b, c in layers.blocks(g, model):
        rope = table_swa if c.is_sliding else table
        if (c.layer + 1) % NO_ROPE_EVERY == 0:
            rope = ""

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope, window=c.window)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


AFMOE = Architecture("afmoe", TENSORS, build, KEYS)
