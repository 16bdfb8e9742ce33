"""`plamo2`: PLaMo 2, PLaMo 2.1.

Most layers have a mixer between Mamba and Mamba-2 in place of attention: those without key heads.  A mixer
has heads with one decay rate each; its time steps, B and C are projections of the channels and have norms;
gate and input are interleaved head by head.  Attention has a norm on every head of queries and keys, each
with a weight of its own.  Norms after each branch too; gate and up are one matrix.

Sources: Preferred Networks 2025, "PLaMo 2" (arXiv:2509.04897); llama.cpp `src/models/plamo2.cpp`.
"""

from ..config.keys import HEAD_COUNTS, SSM, Key
from .mamba import recurrence
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = HEAD_COUNTS | SSM | {"ssm.group_count": Key("ssm.n_groups", "integer", 0, 0, default=0)}

INERT = {"attention.recurrent_layers": "follows from attention.head_count_kv"}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    "blk.N.post_attention_norm": required("n_embd"),
    "blk.N.post_ffw_norm": required("n_embd"),
    "blk.N.attn_qkv.weight": required("qkv_width", "n_embd", when="has_attention"),
    "blk.N.attn_q_norm.weight": required("n_heads", "head_dim", when="has_attention"),
    "blk.N.attn_k_norm.weight": required("n_kv_heads", "head_dim", when="has_attention"),
    "blk.N.attn_output.weight": required("n_embd", "heads_width", when="has_attention"),
    "blk.N.ssm_in.weight": required("2*ssm.d_inner", "n_embd", when="is_recurrent"),
    "blk.N.ssm_conv1d.weight": required("ssm.d_inner", "ssm.d_conv", when="is_recurrent"),
    "blk.N.ssm_x.weight": required("ssm_dt_width+2*ssm.d_state", "ssm.d_inner", when="is_recurrent"),
    "blk.N.ssm_dt.weight": required("ssm.n_heads", "ssm_dt_width", when="is_recurrent"),
    "blk.N.ssm_dt.bias": required("ssm.n_heads", when="is_recurrent"),
    "blk.N.ssm_a": required("ssm.n_heads", when="is_recurrent"),
    "blk.N.ssm_d": required("ssm.n_heads", when="is_recurrent"),
    "blk.N.ssm_dt_norm": required("ssm_dt_width", when="is_recurrent"),
    "blk.N.ssm_b_norm": required("ssm.d_state", when="is_recurrent"),
    "blk.N.ssm_c_norm": required("ssm.d_state", when="is_recurrent"),
    "blk.N.ssm_out.weight": required("n_embd", "ssm.d_inner", when="is_recurrent"),
    **tensors.fused_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = mixer(b, h, c) if c.is_recurrent else layers.attention(b, h, c, rope)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.gated_ffn(b, h, c)
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def mixer(b: Graph, h: str, c: Config) -> str:
    """The output of a mixer for h; its matrix of time steps, B and C begins with B."""
    both = b.linear("ssm_zx", h, "ssm_in")
    z = b.take_columns("ssm_z", both, 0, c.ssm.head_dim, c.ssm.n_heads)
    x = b.take_columns("ssm_conv_in", both, c.ssm.head_dim, c.ssm.head_dim, c.ssm.n_heads)
    return recurrence(b, c, x, z, (2 * c.ssm.d_state, 0, c.ssm.d_state))


PLAMO2 = Architecture("plamo2", TENSORS, build, KEYS, INERT)
