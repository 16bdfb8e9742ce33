"""`qwen3`: dense Qwen 3, Qwen3-Embedding and -Reranker; `qwen3moe`: Qwen3-30B-A3B and the like; `qwen3vl`,
`qwen3vlmoe`: their text side; `qwen3tts`: the model of codes for speech, with as many tokens as codes.

As llama, without biases, with a norm on every head of queries and keys, and NeoX RoPE pairs.  In the mixture
of experts the weights of the chosen ones are normalized to sum to 1; there is no shared expert.

Sources: Qwen Team 2025 (arXiv:2505.09388); llama.cpp `src/models/qwen3.cpp`, `qwen3moe.cpp`, `qwen3vl.cpp`.
"""

from ..config.keys import EXPERTS, IS_CAUSAL, ROPE_SECTIONS
from .parts import Architecture, Config, Graph, layers, rope_table, tensors
from .parts.classifier import CLASSIFIER, classifier

TENSORS = {
    **tensors.HEAD,
    **CLASSIFIER,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.gated_ffn(when="is_dense"),
}

MOE_TENSORS = TENSORS | tensors.experts()

VL_INERT = {"n_deepstack_layers": "says which layers take in pictures, and there are none in text"}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model, interleaved_sections=True)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, is_causal=c.is_causal))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=True)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


QWEN3 = Architecture("qwen3", TENSORS, build, IS_CAUSAL, build_pooled=classifier)
QWEN3VL = Architecture("qwen3vl", TENSORS, build, ROPE_SECTIONS, VL_INERT, build_pooled=classifier)
QWEN3TTS = Architecture("qwen3tts", TENSORS, build, ROPE_SECTIONS, VL_INERT, build_pooled=classifier)
QWEN3MOE = Architecture("qwen3moe", MOE_TENSORS, build, EXPERTS, build_pooled=classifier)
QWEN3VLMOE = Architecture(
    "qwen3vlmoe", MOE_TENSORS, build, EXPERTS | ROPE_SECTIONS, VL_INERT, build_pooled=classifier
)
