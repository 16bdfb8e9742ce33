"""`grovemoe`: GroveMoE.

As qwen3moe, with smaller experts in addition, each shared by a group of the others.  They are chosen by the
same router, as the groups of its best experts; their output is scaled and added.

Sources: Wu et al. 2025 (arXiv:2508.07785); llama.cpp `src/models/grovemoe.cpp`.
"""

from ..config.keys import EXPERTS, Key, optional_float
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = EXPERTS | {
    "expert_chunk_feed_forward_length": Key("moe.n_ff_chunk", "integer", 0, 2**24, default=0),
    "expert_group_scale": optional_float("moe.chunk_scale", 1.0),
    "experts_per_group": Key("moe.n_per_chunk", "integer", 1, 2**16),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.experts(),
    "blk.N.ffn_gate_chexps.weight": required("moe.n_chunks", "moe.n_ff_chunk", "n_embd"),
    "blk.N.ffn_up_chexps.weight": required("moe.n_chunks", "moe.n_ff_chunk", "n_embd"),
    "blk.N.ffn_down_chexps.weight": required("moe.n_chunks", "n_embd", "moe.n_ff_chunk"),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts(b, h, c, "softmax", is_normalized=True)
        h = b.add("ffn_both", h, chunk_experts(b, h, c))
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def chunk_experts(b: Graph, h: str, c: Config) -> str:
    """The shared smaller experts, applied to the output of the others.

    The weight of a smaller expert is the router's number at its own index, as in llama.cpp.
    """
    ids, weights = b.route(
        "chunk_ids",
        "chunk_weights",
        f"blk.{c.layer}.router",
        min(c.moe.n_used, c.moe.n_chunks),
        "softmax",
        is_normalized=True,
        scale=c.moe.weights_scale or 1.0,
        n_groups=c.moe.n_groups or 1,
        n_groups_used=c.moe.n_groups_used or 1,
        n_sharing=c.moe.n_per_chunk,
    )
    gate = b.expert_linear("chexps_gate", h, ids, "ffn_gate_chexps")
    up = b.expert_linear("chexps_up", h, ids, "ffn_up_chexps")
    h = b.silu_mul("chexps_act", gate, up)
    h = b.expert_linear("chexps_down", h, ids, "ffn_down_chexps")
    h = b.expert_sum("chexps_out", h, weights)
    return b.scale("chexps_scaled", h, c.moe.chunk_scale)


GROVEMOE = Architecture("grovemoe", TENSORS, build, KEYS)
