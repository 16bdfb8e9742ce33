"""`granitehybrid`: Granite 4 H.

As granite, but most layers have a Mamba-2 mixer in place of attention: those without key heads.

Sources: IBM 2025, "Granite 4.0"; llama.cpp `src/models/granite-hybrid.cpp`.
"""

from ..config.config import Config
from ..config.keys import HEAD_COUNTS, SSM
from ..plan.graph.graph import Graph
from . import granite
from .architecture import Architecture
from .mamba2 import mixer, mixer_tensors
from .parts import layers, tensors
from .parts.rope import rope_table

INERT = {"attention.recurrent_layers": "follows from attention.head_count_kv"}

KEYS = granite.KEYS | SSM | HEAD_COUNTS

TENSORS = {
    **granite.TENSORS,
    **tensors.attention(when="has_attention"),
    **mixer_tensors(when="is_recurrent"),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model) if model.rope_is_on else ""
    x = g.embed("token_embd", "token_embd", scale=model.embedding_scale or 1.0)
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = mixer(b, h, c) if c.is_recurrent else layers.attention(b, h, c, rope, "norm")
        x = b.add("resid_mid", x, b.scale("attn_scaled", h, c.residual_scale or 1.0))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = (
            layers.experts(b, h, c, "softmax", is_normalized=True)
            if c.has_experts
            else layers.gated_ffn(b, h, c)
        )
        x = b.add("resid_post", x, b.scale("ffn_scaled", h, c.residual_scale or 1.0))
    layers.head(g, x, model, g.rms_norm, scale=1 / (model.logit_scale or 1.0))


GRANITEHYBRID = Architecture("granitehybrid", TENSORS, build, KEYS, INERT)
