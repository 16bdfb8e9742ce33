"""`qwen35`: dense Qwen 3.5 and later; `qwen35moe`: their mixtures of experts.

Three of four layers are gated delta nets: linear attention by the gated delta rule, with a matrix per head as
its state, after a short convolution.  The fourth is attention, with a norm on every head of queries and keys,
RoPE on a part of each, and an output gate.  The tensor post_attention_norm is the norm before the
feed-forward layer.

Sources: Yang et al. 2024 (arXiv:2412.06464); Qwen Team 2025, "Qwen3-Next"; llama.cpp `src/models/qwen35.cpp`,
`qwen35moe.cpp`.
"""

from ..config.keys import EXPERTS, RECURRENT_LAYERS, ROPE_SECTIONS, SCALES, SSM, Key
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

KEYS = (
    SSM
    | ROPE_SECTIONS
    | {
        "attention.recurrent_layers": RECURRENT_LAYERS,
        "attention.scale": SCALES["attention.scale"],
        "full_attention_interval": Key("full_attention_interval", "integer", 1, 1024, default=4),
    }
)

ATTENTION: tensors.Table = {
    "blk.N.attn_q.weight": required("2*q_width", "n_embd", when="has_attention"),
    "blk.N.attn_q.bias": optional("2*q_width", when="has_attention"),
    "blk.N.attn_k.weight": required("kv_width", "n_embd", when="has_attention"),
    "blk.N.attn_k.bias": optional("kv_width", when="has_attention"),
    "blk.N.attn_v.weight": required("v_width", "n_embd", when="has_attention"),
    "blk.N.attn_v.bias": optional("v_width", when="has_attention"),
    "blk.N.attn_output.weight": required("n_embd", "heads_width", when="has_attention"),
    **tensors.qk_norms(when="has_attention"),
}

DELTA_NET: tensors.Table = {
    "blk.N.attn_qkv.weight": required("ssm.n_channels", "n_embd", when="is_recurrent"),
    "blk.N.attn_gate.weight": required("ssm.d_inner", "n_embd", when="is_recurrent"),
    "blk.N.ssm_alpha.weight": required("ssm.n_heads", "n_embd", when="is_recurrent"),
    "blk.N.ssm_beta.weight": required("ssm.n_heads", "n_embd", when="is_recurrent"),
    "blk.N.ssm_conv1d.weight": required("ssm.n_channels", "ssm.d_conv", when="is_recurrent"),
    "blk.N.ssm_dt.bias": required("ssm.n_heads", when="is_recurrent"),
    "blk.N.ssm_a": required("ssm.n_heads", when="is_recurrent"),
    "blk.N.ssm_norm.weight": required("ssm.head_dim", when="is_recurrent"),
    "blk.N.ssm_out.weight": required("n_embd", "ssm.d_inner", when="is_recurrent"),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm"),
    **ATTENTION,
    **DELTA_NET,
    **tensors.gated_ffn(when="is_dense"),
}

MOE_TENSORS = {
    **TENSORS,
    **tensors.experts(),
    **tensors.shared_expert(),
    "blk.N.ffn_gate_inp_shexp.weight": required("n_embd", when="has_shared_expert"),
}


def build(g: Graph, model: Config) -> None:
    build_blocks(g, model, delta_net)


def build_blocks(g: Graph, model: Config, recurrent: layers.Mixer) -> None:
    """The graph, with `recurrent` in place of attention in the recurrent layers."""
    rope = rope_table(g, model, interleaved_sections=True)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = recurrent(b, h, c) if c.is_recurrent else gated_attention(b, h, c, rope)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "post_attention_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=True)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def gated_attention(b: Graph, h: str, c: Config, rope: str) -> str:
    """Attention with an output gate, which is part of the query matrix, head by head."""
    both = b.linear("q_gate", h, "attn_q")
    q = b.take_columns("q", both, 0, c.head_dim, c.n_heads)
    gate = b.take_columns("gate", both, c.head_dim, c.head_dim, c.n_heads)
    k, v = b.linear("k", h, "attn_k"), b.linear("v", h, "attn_v")
    q = b.rms_norm("q_norm", q, "attn_q_norm", c.norm_eps)
    k = b.rms_norm("k_norm", k, "attn_k_norm", c.norm_eps)
    q = b.rope("q_rope", q, c.head_dim, "neox", rope)
    k = b.rope("k_rope", k, c.head_dim, "neox", rope)
    h = b.attention("attn_heads", q, k, v, c.head_dim, c.attention_scale or c.head_dim**-0.5)
    h = b.mul("attn_gated", h, b.activate("gate_act", gate, "sigmoid"))
    return b.linear("attn_out", h, "attn_output")


def delta_net(b: Graph, h: str, c: Config) -> str:
    """Linear attention by the gated delta rule."""
    z = b.linear("z", h, "attn_gate")
    alpha, beta = b.linear("alpha", h, "ssm_alpha"), b.linear("beta", h, "ssm_beta")
    return delta_heads(b, c, z, alpha, beta, b.linear("qkv", h, "attn_qkv"))


def delta_heads(
    b: Graph, c: Config, z: str, alpha: str, beta: str, qkv: str, is_grouped: bool = False
) -> str:
    """The delta rule on what was projected; `is_grouped` as in `DeltaRule`."""
    key_width = c.ssm.n_groups * c.ssm.d_state
    decay = b.decay("decay", alpha)
    beta = b.activate("beta_act", beta, "sigmoid")
    qkv = b.causal_conv("qkv_conv", qkv, "ssm_conv1d")
    qkv = b.activate("qkv_act", qkv, "silu")
    q = b.take_columns("q", qkv, 0, key_width)
    k = b.take_columns("k", qkv, key_width, key_width)
    v = b.take_columns("v", qkv, 2 * key_width, c.ssm.d_inner)
    q = b.l2_norm("q_norm", q, c.norm_eps, c.ssm.n_groups)
    k = b.l2_norm("k_norm", k, c.norm_eps, c.ssm.n_groups)
    h = b.delta_rule("delta_heads", q, k, v, decay, beta, c.ssm.n_heads, c.ssm.n_groups, is_grouped)
    h = b.rms_norm("delta_norm", h, "ssm_norm", c.norm_eps)
    return b.linear("attn_out", b.silu_mul("delta_gated", z, h), "ssm_out")


QWEN35 = Architecture("qwen35", TENSORS, build, KEYS)
QWEN35MOE = Architecture("qwen35moe", MOE_TENSORS, build, KEYS | EXPERTS)
