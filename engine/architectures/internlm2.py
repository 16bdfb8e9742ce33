"""`internlm2`: InternLM 2 and 2.5; `ernie4_5`, `ernie4_5-moe`: ERNIE 4.5; `paddleocr`: PaddleOCR-VL (text).

InternLM has the graph of `llama`, PaddleOCR that of `phi3`, which has NeoX RoPE pairs.  ERNIE is as llama;
its mixture of experts has a selection bias, and a shared expert that always counts in full.

Sources: Cai et al. 2024 (arXiv:2403.17297); Baidu 2025, "ERNIE 4.5 Technical Report"; llama.cpp
`src/models/internlm2.cpp`, `ernie4-5.cpp`, `ernie4-5-moe.cpp`, `paddleocr.cpp`.
"""

from ..config.keys import EXPERTS, ROPE_SECTIONS, Key
from . import llama, phi3
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

MOE_KEYS = EXPERTS | {
    "interleave_moe_layer_step": Key("moe.layer_step", "integer", 1, 1024, default=1),
}

ERNIE_INERT = {"rope.dimension_sections": "llama.cpp reads them, and uses them in paddleocr alone"}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
}

MOE_TENSORS = TENSORS | tensors.experts() | tensors.shared_expert()

ERNIE_INERT_TENSORS = {
    "blk.N.attn_output.bias": "no ERNIE has it; llama.cpp's test model does, and leaves it aside",
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm", output_bias=False))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=True)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


INTERNLM2 = Architecture("internlm2", TENSORS, llama.build)
ERNIE4_5 = Architecture("ernie4_5", TENSORS, build, {}, ERNIE_INERT, ERNIE_INERT_TENSORS)
ERNIE4_5_MOE = Architecture("ernie4_5-moe", MOE_TENSORS, build, MOE_KEYS, ERNIE_INERT, ERNIE_INERT_TENSORS)
PADDLEOCR = Architecture("paddleocr", TENSORS, phi3.build, ROPE_SECTIONS)
