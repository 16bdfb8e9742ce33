"""`deepseek`: DeepSeek MoE 16B, which came before V2; `deepseek2-ocr`: the language side of DeepSeek-OCR.

As llama, with leading dense layers, then mixtures of experts with shared experts.  DeepSeek-OCR has NeoX RoPE
pairs, and its context is never stretched.

Sources: Dai et al. 2024 (arXiv:2401.06066); Wei et al. 2025 (arXiv:2510.18234); llama.cpp
`src/models/deepseek.cpp`, `deepseek2ocr.cpp`.
"""

from ..config.keys import EXPERTS, SCALES
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = EXPERTS | {"attention.scale": SCALES["attention.scale"]}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}

# What llama.cpp reads for one of the two only.
FIRST_INERT = {
    "expert_gating_func": "experts are always chosen by a softmax",
    "expert_weights_norm": "the chosen weights are used as they are",
}

OCR_INERT = {
    "attention.sliding_window": "the image tokens must stay visible; llama.cpp has no window either",
    "rope.scaling.yarn_log_multiplier": "the context is never stretched",
}


def build(g: Graph, model: Config) -> None:
    is_ocr = model.architecture == "deepseek2-ocr"
    gating = layers.GATINGS[model.moe.gating or 1]
    rope = rope_table(g, model, is_stretched=not is_ocr)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "neox" if is_ocr else "norm"))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


DEEPSEEK = Architecture(
    "deepseek", TENSORS, build, {name: KEYS[name] for name in KEYS if name not in FIRST_INERT}, FIRST_INERT
)
DEEPSEEK2_OCR = Architecture("deepseek2-ocr", TENSORS, build, EXPERTS, OCR_INERT)
