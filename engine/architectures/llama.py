"""`llama`: Llama 1 to 3, Mistral, Mixtral, TinyLlama, SmolLM, Yi, Solar and many more that share their graph;
`mistral3`: Ministral 3 and Devstral 2, with YaRN and scaled queries at far positions;
`llama-embed`: encoders like Llama Embed Nemotron, whose tokens see all others.

Pre-norm blocks of grouped-query attention with RoPE and a SwiGLU feed-forward layer, or a mixture of such
experts; biases where the file has them; the embedding is also the head where the file has no other.

Sources: Touvron et al. 2023 (arXiv:2302.13971); Jiang et al. 2024 (arXiv:2401.04088); llama.cpp
`src/models/llama.cpp` and `mistral3.cpp`.
"""

from ..config.keys import EXPERTS, NOT_CAUSAL, SCALES, Key, optional_float
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = {
    "attention.scale": SCALES["attention.scale"],
    "expert_count": EXPERTS["expert_count"],
    "expert_used_count": EXPERTS["expert_used_count"],
    "expert_weights_scale": EXPERTS["expert_weights_scale"],
}

MISTRAL3_KEYS = KEYS | {
    "attention.temperature_scale": optional_float("temperature_scale", 0.0),
    "rope.scaling.yarn_log_multiplier": Key("rope.yarn_log_mul", "float", 0, 1e3, default=0.0, or_zero=True),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
}

INERT = {
    "attention.sliding_window": "llama.cpp lets every layer of Mistral 7B v0.1 see all positions; so do we",
}

INERT_TENSORS = {"output.weight": "an encoder gives embeddings, and no logits"}


def build(g: Graph, model: Config) -> None:
    layers.head(g, build_blocks(g, model), model, g.rms_norm)


def build_encoder(g: Graph, model: Config) -> None:
    layers.encoder_end(g, build_blocks(g, model, is_causal=False), model, g.rms_norm)


def build_blocks(g: Graph, model: Config, is_causal: bool = True) -> str:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm", is_causal=is_causal))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=True)
        x = b.add("resid_post", x, h)
    return x


LLAMA = Architecture("llama", TENSORS, build, KEYS, INERT)
MISTRAL3 = Architecture("mistral3", TENSORS, build, MISTRAL3_KEYS, INERT)
LLAMA_EMBED = Architecture("llama-embed", TENSORS, build_encoder, KEYS, INERT | NOT_CAUSAL, INERT_TENSORS)
