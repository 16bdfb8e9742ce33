"""`internlm2`: InternLM 2 and 2.5; `ernie4_5`, `ernie4_5-moe`: ERNIE 4.5; `paddleocr`: PaddleOCR-VL (text).

As llama, but for PaddleOCR's pairs in RoPE, which are the two halves of each head.  ERNIE's mixture of
experts chooses with a bias, and has a shared expert that always counts in full.

Sources: Cai et al. 2024 (arXiv:2403.17297); Baidu 2025, "ERNIE 4.5 Technical Report"; llama.cpp
`src/models/internlm2.cpp`, `ernie4-5.cpp`, `ernie4-5-moe.cpp`, `paddleocr.cpp`.
"""

from ...kernels.names import Pairing
from ..config.config import Config
from ..config.keys import EXPERTS, ROPE_SECTIONS, Key
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts import layers, tensors
from .parts.rope import rope_table

MOE_KEYS = EXPERTS | {
    "interleave_moe_layer_step": Key("moe_layer_step", "integer", 1, 1024, default=1),
}

ERNIE_INERT = {"rope.dimension_sections": "llama.cpp reads them, and turns by them in paddleocr alone"}

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
    has_output_bias = model.architecture in ("internlm2", "paddleocr")
    pairing: Pairing = "neox" if model.architecture == "paddleocr" else "norm"
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, pairing, output_bias=has_output_bias))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = (
            layers.experts(b, h, c, "softmax", is_normalized=True)
            if c.has_experts
            else layers.gated_ffn(b, h, c)
        )
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


INTERNLM2 = Architecture("internlm2", TENSORS, build)
ERNIE4_5 = Architecture("ernie4_5", TENSORS, build, {}, ERNIE_INERT, ERNIE_INERT_TENSORS)
ERNIE4_5_MOE = Architecture("ernie4_5-moe", MOE_TENSORS, build, MOE_KEYS, ERNIE_INERT, ERNIE_INERT_TENSORS)
PADDLEOCR = Architecture("paddleocr", TENSORS, build, ROPE_SECTIONS)
