"""`granite`, `granitemoe`: Granite 3 and 4 (dense, and mixtures of experts); `granite_swa`: with sliding
windows; `minicpm`: MiniCPM.

As llama, with factors on the embedding, on the output of each branch, on attention scores and on the logits.
With sliding windows there are also attention sinks, and layers may have no RoPE. Layers without key heads
have a Mamba-2 mixer in place of attention (`granitehybrid`).

Sources: IBM 2024, "Granite 3.0 Language Models"; Hu et al. 2024, "MiniCPM" (arXiv:2404.06395); llama.cpp
`src/models/granite.cpp`, `granite-swa.cpp`, `minicpm.cpp`.
"""

from dataclasses import replace

from ..config.keys import (
    EXPERT_COUNTS,
    EXPERTS,
    REQUIRED,
    SCALES,
    SLIDING_WINDOW,
    Key,
    optional_float,
    sliding_pattern,
)
from .mamba2 import mixer
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = SCALES | {
    "rope.scaling.finetuned": Key("rope.is_on", "boolean", default=True),
    "expert_count": EXPERTS["expert_count"],
    "expert_used_count": EXPERTS["expert_used_count"],
    "expert_weights_scale": EXPERTS["expert_weights_scale"],
    "expert_shared_feed_forward_length": EXPERTS["expert_shared_feed_forward_length"],
}

SWA_KEYS = KEYS | {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(REQUIRED),
    "attention.rope_pattern": Key("rope.is_on", "integer", 0, 1, default=1, per_layer="any"),
}
del SWA_KEYS["rope.scaling.finetuned"]

# Older files of MiniCPM lack its factors; a negative default marks that.
MINICPM_KEYS = EXPERT_COUNTS | {
    "embedding_scale": optional_float("embedding_scale", 12.0),
    "residual_scale": optional_float("residual_scale", -1.0),
    "logit_scale": optional_float("logit_scale", -1.0),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}

SWA_TENSORS = {name: shape for name, shape in TENSORS.items() if "ffn_gate_shexp" not in name} | {
    "blk.N.attn_sinks.weight": required("n_heads"),
    "blk.N.ffn_up_shexp.weight": required("2*moe.n_ff_shared", "n_embd", when="has_shared_expert"),
}


def build(g: Graph, model: Config) -> None:
    table = rope_table(g, model) if model.rope.is_on else ""
    x = g.embed("token_embd", "token_embd", scale=model.embedding_scale or 1.0)
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        rope, sinks = table if c.rope.is_on else "", "attn_sinks" if b.has("attn_sinks") else ""
        if c.is_recurrent:
            h = mixer(b, h, c)
        else:
            h = layers.attention(b, h, c, rope, "norm", window=c.window, sinks=sinks)
        x = b.add("resid_mid", x, b.scale("attn_scaled", h, c.residual_scale or 1.0))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=True)
        x = b.add("resid_post", x, b.scale("ffn_scaled", h, c.residual_scale or 1.0))
    layers.head(g, x, model, g.rms_norm, scale=1 / (model.logit_scale or 1.0))


def build_minicpm(g: Graph, model: Config) -> None:
    residual, logit = model.residual_scale, model.logit_scale
    model = replace(
        model,
        residual_scale=1.4 * model.n_layers**-0.5 if residual < 0 else residual,
        logit_scale=256 / model.n_embd if logit < 0 else logit,
    )
    build(g, model)


GRANITE = Architecture("granite", TENSORS, build, KEYS)
GRANITEMOE = Architecture("granitemoe", TENSORS, build, KEYS)
GRANITE_SWA = Architecture("granite_swa", SWA_TENSORS, build, SWA_KEYS)
MINICPM = Architecture("minicpm", TENSORS, build_minicpm, MINICPM_KEYS)
