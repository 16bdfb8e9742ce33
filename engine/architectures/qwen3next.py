"""`qwen3next`: Qwen3-Next 80B-A3B.

The graph of `qwen35moe`, but the heads of a delta net that share a key head are neighbours, and one matrix
gives beta and decay, grouped by key head.  Older files have queries, keys, values and the gate in one such
matrix too.

Sources: Yang et al. 2024 (arXiv:2412.06464); Qwen Team 2025, "Qwen3-Next"; llama.cpp
`src/models/qwen3next.cpp`.
"""

from ..config.keys import EXPERTS, Key
from . import qwen35
from .parts import Architecture, Config, Graph, optional, required, tensors

KEYS = {name: key for name, key in (qwen35.KEYS | EXPERTS).items() if name != "rope.dimension_sections"} | {
    "expert_shared_feed_forward_length": Key("moe.n_ff_shared", "integer", 1, 2**24, default=None),
}

SEPARATE = ("blk.N.ssm_alpha.weight", "blk.N.ssm_beta.weight")

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm"),
    **qwen35.ATTENTION,
    **{name: shape for name, shape in qwen35.DELTA_NET.items() if name not in SEPARATE},
    "blk.N.attn_qkv.weight": optional("ssm.n_channels", "n_embd", when="is_recurrent"),
    "blk.N.attn_gate.weight": optional("ssm.d_inner", "n_embd", when="is_recurrent"),
    "blk.N.ssm_in.weight": required(
        "ssm.n_channels+ssm.d_inner", "n_embd", when="is_recurrent", unless="attn_qkv.weight"
    ),
    "blk.N.ssm_ba.weight": required("2*ssm.n_heads", "n_embd", when="is_recurrent"),
    **tensors.experts(),
    **tensors.shared_expert(when="has_experts"),
    "blk.N.ffn_gate_inp_shexp.weight": required("n_embd", when="has_experts"),
}

INERT_TENSORS = {
    "blk.N.ssm_in.weight": "llama.cpp's test models have attn_qkv and attn_gate, which take its place, too",
}


def build(g: Graph, model: Config) -> None:
    qwen35.build_blocks(g, model, delta_net)


def delta_net(b: Graph, h: str, c: Config) -> str:
    """Linear attention by the gated delta rule."""
    n_groups, n_shared = c.ssm.n_groups, c.ssm.n_heads // c.ssm.n_groups
    both = b.linear("beta_alpha", h, "ssm_ba")
    beta = b.take_columns("beta", both, 0, n_shared, n_groups)
    alpha = b.take_columns("alpha", both, n_shared, n_shared, n_groups)
    if b.has("attn_qkv"):
        z, qkv = b.linear("z", h, "attn_gate"), b.linear("qkv", h, "attn_qkv")
    else:
        all_four = b.linear("qkvz", h, "ssm_in")
        width = c.ssm.d_inner // n_groups
        q = b.take_columns("q_in", all_four, 0, c.ssm.d_state, n_groups)
        k = b.take_columns("k_in", all_four, c.ssm.d_state, c.ssm.d_state, n_groups)
        v = b.take_columns("v_in", all_four, 2 * c.ssm.d_state, width, n_groups)
        z = b.take_columns("z", all_four, 2 * c.ssm.d_state + width, width, n_groups)
        qkv = b.join_columns("qkv", b.join_columns("qk_in", q, k), v)
    return qwen35.delta_heads(b, c, z, alpha, beta, qkv, is_grouped=True)


QWEN3NEXT = Architecture("qwen3next", TENSORS, build, KEYS, inert_tensors=INERT_TENSORS)
