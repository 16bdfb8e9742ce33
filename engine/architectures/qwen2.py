"""`qwen2`: Qwen 1.5, 2 and 2.5, QwQ, R1-Distill-Qwen; `qwen2moe`: Qwen1.5-MoE, Qwen2-57B-A14B; `qwen`: the
first Qwen; `qwen2vl`: the text side of Qwen2-VL and Qwen2.5-VL; `pangu-embedded`: openPangu Embedded.

As llama, with biases on queries, keys and values, and NeoX RoPE pairs.  The mixture of experts has a shared
expert with a sigmoid gate of its own; the weights of the chosen experts are not normalized.  In the first
Qwen feed_forward_length counts gate and up together.

Sources: Qwen Team 2023, 2024 (arXiv:2309.16609, arXiv:2407.10671, arXiv:2409.12191); llama.cpp
`src/models/qwen.cpp`, `qwen2.cpp`, `qwen2moe.cpp`, `qwen2vl.cpp` and `pangu-embed.cpp`.
"""

from ..config.keys import EXPERTS, IS_CAUSAL, ROPE_SECTIONS, Key
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    "output.bias": optional("n_vocab"),
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
}

PANGU_INERT_TENSORS = {
    "rope_freqs.weight": "no Pangu has it; llama.cpp's test model does, and leaves it aside",
}

MOE_KEYS = EXPERTS | {
    "expert_shared_feed_forward_length": Key("moe.n_ff_shared", "integer", 1, 2**24, default=None),
}

MOE_TENSORS = {
    **TENSORS,
    **tensors.experts(),
    **tensors.shared_expert(),
    "blk.N.ffn_gate_inp_shexp.weight": required("n_embd", when="has_experts"),
}

QWEN_TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    "blk.N.attn_qkv.weight": required("3*n_embd", "n_embd"),
    "blk.N.attn_qkv.bias": required("3*n_embd"),
    "blk.N.ffn_gate.weight": required("n_ff/2", "n_embd"),
    "blk.N.ffn_up.weight": required("n_ff/2", "n_embd"),
    "blk.N.ffn_down.weight": required("n_embd", "n_ff/2"),
}

# llama.cpp does not read the epsilon of Qwen2-VL, and its test model has none.
VL_KEYS = ROPE_SECTIONS | {
    "attention.layer_norm_rms_epsilon": Key("norm_eps", "float", 0, 1, default=1e-6),
}

VL_INERT_TENSORS = {
    "output.bias": "no Qwen2-VL has it; llama.cpp's test model does, and leaves it aside",
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model, has_factors=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, is_causal=c.is_causal))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=False)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm, has_bias=model.architecture != "qwen2vl")


QWEN = Architecture("qwen", QWEN_TENSORS, build)
QWEN2 = Architecture("qwen2", TENSORS, build, IS_CAUSAL)
PANGU_EMBEDDED = Architecture("pangu-embedded", TENSORS, build, inert_tensors=PANGU_INERT_TENSORS)
QWEN2MOE = Architecture("qwen2moe", MOE_TENSORS, build, MOE_KEYS)
QWEN2VL = Architecture("qwen2vl", TENSORS, build, VL_KEYS, inert_tensors=VL_INERT_TENSORS)
