"""`dots1`: dots.llm1; `bailingmoe`, `bailingmoe2`: Ling and Ring, versions 1 and 2; `hy_v3`: Hunyuan 3.

Leading dense layers, then mixtures of experts with sigmoid gating, a selection bias and a shared expert; a
norm on every head of queries and keys.  Ling's first version has the graph of `deepseek`, with softmax gating
and without dense layers and these norms.  In Hunyuan 3 the tensors say which layers are dense.

Sources: rednote-hilab 2025, "dots.llm1" (arXiv:2506.05767); Ling Team 2025 (arXiv:2503.05139); llama.cpp
`src/models/dots1.cpp`, `bailingmoe.cpp`, `bailingmoe2.cpp`, `hy-v3.cpp`.
"""

from ..config.keys import EXPERTS, Key
from . import deepseek
from .parts import Architecture, Config, Graph, layers, optional, rope_table, tensors

NOT_LING = ("expert_gating_func", "leading_dense_block_count")
LING_KEYS = {name: key for name, key in EXPERTS.items() if name not in NOT_LING}

LING_INERT = {
    "expert_gating_func": "llama.cpp chooses by softmax whatever it says; so do we",
    "leading_dense_block_count": "every layer has experts, whatever it says",
}

# The width of one shared expert; they are stored as one.
LING2_KEYS = EXPERTS | {
    "expert_shared_feed_forward_length": Key("moe.n_ff_each_shared", "integer", 0, 2**24, default=0),
}

HY_KEYS = EXPERTS | {"expert_shared_count": Key("moe.n_shared", "integer", 0, 2**10, default=1)}

COMMON = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention()

LING_TENSORS = COMMON | tensors.experts() | tensors.shared_expert()

TENSORS = LING_TENSORS | tensors.qk_norms() | tensors.gated_ffn(when="is_dense")

HY_TENSORS = {
    **COMMON,
    **tensors.qk_norms(),
    **tensors.where_present(tensors.gated_ffn() | tensors.experts() | tensors.shared_expert()),
    "blk.N.exp_probs_b": optional("moe.n_experts"),
}

HY_INERT_TENSORS = {
    f"blk.N.ffn_{part}.weight": "llama.cpp's test model has it beside experts, and leaves it aside"
    for part in ("gate", "up", "down")
}


def build(g: Graph, model: Config) -> None:
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


BAILINGMOE = Architecture("bailingmoe", LING_TENSORS, deepseek.build, LING_KEYS, LING_INERT)
BAILINGMOE2 = Architecture("bailingmoe2", TENSORS, build, LING2_KEYS)
DOTS1 = Architecture("dots1", TENSORS, build, EXPERTS)
HY_V3 = Architecture("hy_v3", HY_TENSORS, build, HY_KEYS, inert_tensors=HY_INERT_TENSORS)
