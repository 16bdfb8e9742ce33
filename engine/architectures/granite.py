"""`granite`, `granitemoe`: Granite 3 and 4 (dense, and mixtures of experts); `minicpm`: MiniCPM.

As llama, with factors on the embedding, on what each branch adds, on attention scores and on the logits.

Sources: IBM 2024, "Granite 3.0 Language Models"; Hu et al. 2024, "MiniCPM" (arXiv:2404.06395); llama.cpp
`src/models/granite.cpp`, `minicpm.cpp`.
"""

from dataclasses import replace

from ..config import Config
from ..graph import Graph
from ..keys import EXPERTS, SCALES, Key, optional_float
from .architecture import Architecture
from .layers import attention, blocks, experts, gated_ffn, head
from .rope import rope_table
from .tensors import HEAD, ROPE_FACTORS, norms, shared_expert
from .tensors import attention as attention_tensors
from .tensors import experts as expert_tensors
from .tensors import gated_ffn as ffn_tensors

KEYS = SCALES | {
    "rope.scaling.finetuned": Key("rope_is_on", "boolean", default=True),
    "expert_count": EXPERTS["expert_count"],
    "expert_used_count": EXPERTS["expert_used_count"],
    "expert_weights_scale": EXPERTS["expert_weights_scale"],
    "expert_shared_feed_forward_length": EXPERTS["expert_shared_feed_forward_length"],
}

# MiniCPM's older files say nothing of its factors, and a negative one stands for that here.
MINICPM_KEYS = {
    "embedding_scale": optional_float("embedding_scale", 12.0),
    "residual_scale": optional_float("residual_scale", -1.0),
    "logit_scale": optional_float("logit_scale", -1.0),
}

TENSORS = {
    **HEAD,
    **ROPE_FACTORS,
    **norms("attn_norm", "ffn_norm"),
    **attention_tensors(),
    **ffn_tensors(when="is_dense"),
    **expert_tensors(),
    **shared_expert(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model) if model.rope_is_on else ""
    x = g.embed("token_embd", "token_embd", scale=model.embedding_scale or 1.0)
    for b, c in blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = attention(b, h, c, rope, "norm")
        x = b.add("resid_mid", x, b.scale("attn_scaled", h, c.residual_scale or 1.0))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = experts(b, h, c, "softmax", is_normalized=True) if c.has_experts else gated_ffn(b, h, c)
        x = b.add("resid_post", x, b.scale("ffn_scaled", h, c.residual_scale or 1.0))
    head(g, x, model, g.rms_norm, scale=1 / (model.logit_scale or 1.0))


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
MINICPM = Architecture("minicpm", TENSORS, build_minicpm, MINICPM_KEYS)
