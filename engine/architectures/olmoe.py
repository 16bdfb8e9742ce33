"""`olmoe`: OLMoE 1B-7B; `minimax-m2`: MiniMax M2.

As llama, with NeoX RoPE pairs, a mixture of experts in every layer, and one norm over all heads of queries
and one of keys.  MiniMax M2 has RoPE on a part of each head, and sigmoid gating with a selection bias; the
weights of the chosen experts are normalized to sum to 1.

Sources: Muennighoff et al. 2024 (arXiv:2409.02060); MiniMax 2025, "MiniMax M2"; llama.cpp
`src/models/olmoe.cpp`, `minimax-m2.cpp`.
"""

from ..config.keys import EXPERTS
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = {
    name: EXPERTS[name]
    for name in (
        "expert_count",
        "expert_used_count",
        "expert_weights_scale",
        "expert_group_count",
        "expert_group_used_count",
    )
}

MINIMAX_KEYS = KEYS | {"expert_gating_func": EXPERTS["expert_gating_func"]}

MINIMAX_INERT = {
    "expert_feed_forward_length": "it equals feed_forward_length",
    "expert_weights_norm": "the chosen weights always add up to 1",
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    "blk.N.attn_q_norm.weight": required("q_width"),
    "blk.N.attn_k_norm.weight": required("kv_width"),
    **tensors.experts(),
}


def build(g: Graph, model: Config) -> None:
    is_minimax = model.architecture == "minimax-m2"
    gating = layers.GATINGS[model.moe.gating or 2] if is_minimax else "softmax"
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.experts(b, h, c, gating, is_normalized=is_minimax))
    layers.head(g, x, model, g.rms_norm)


OLMOE = Architecture("olmoe", TENSORS, build, KEYS)
MINIMAX_M2 = Architecture("minimax-m2", TENSORS, build, MINIMAX_KEYS, MINIMAX_INERT)
