"""`jamba`: Jamba, Jamba 1.5, Jamba Reasoning.

Most layers have the mixer of Mamba in place of attention, with norms of its time steps, B and C: those
without key heads.  Attention has no positions.  Every second layer of the larger models has a mixture of
experts, as its tensors say.

Sources: Lieber et al. 2024 (arXiv:2403.19887); llama.cpp `src/models/jamba.cpp`.
"""

from ..config.keys import EXPERT_COUNTS, EXPERTS, HEAD_COUNTS, MIXER
from .mamba import mixer, mixer_tensors
from .parts import Architecture, Config, Graph, layers, required, tensors

KEYS = MIXER | HEAD_COUNTS | EXPERT_COUNTS | {"expert_weights_scale": EXPERTS["expert_weights_scale"]}

INERT = {
    "attention.recurrent_layers": "follows from attention.head_count_kv",
    "ssm.group_count": "all channels share B and C",
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(when="has_attention"),
    **mixer_tensors(when="is_recurrent"),
    "blk.N.ssm_dt_norm.weight": required("ssm.dt_rank", when="is_recurrent"),
    "blk.N.ssm_b_norm.weight": required("ssm.d_state", when="is_recurrent"),
    "blk.N.ssm_c_norm.weight": required("ssm.d_state", when="is_recurrent"),
    **tensors.where_present(tensors.gated_ffn()),
    **tensors.where_present(tensors.experts()),
}


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, mixer(b, h, c) if c.is_recurrent else layers.attention(b, h, c))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=False)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


JAMBA = Architecture("jamba", TENSORS, build, KEYS, INERT)
