"""`minimax-01`: MiniMax-Text-01, MiniMax-M1.

Seven of eight layers are lightning attention: linear attention with a constant decay, which differs by head
and layer, and a norm and a gate on its output.  The others are attention with RoPE on a part of each head.
What a branch is added to is its own input, after the norm, times a factor.  Every layer has a mixture of
experts.

Sources: MiniMax 2025 (arXiv:2501.08313); llama.cpp `src/models/minimax-01.cpp`.
"""

import math

from ..config.keys import EXPERTS, RECURRENT_LAYERS, SCALES, Key
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = {
    "attention.recurrent_layers": RECURRENT_LAYERS,
    "full_attention_interval": Key("full_attention_interval", "integer", 1, 1024, default=8),
    "residual_scale": SCALES["residual_scale"],
    **{
        name: EXPERTS[name]
        for name in ("expert_count", "expert_used_count", "expert_group_count", "expert_group_used_count")
    },
}

_ATTENTION = tensors.attention(when="has_attention")

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **{name: _ATTENTION[name] for name in _ATTENTION if ".attn_qkv." not in name},
    "blk.N.attn_output.weight": required("n_embd", "heads_width"),
    "blk.N.attn_qkv.weight": required("3*q_width", "n_embd", when="is_recurrent"),
    "blk.N.attn_gate.weight": required("q_width", "n_embd", when="is_recurrent"),
    "blk.N.attn_norm_2.weight": required("q_width", when="is_recurrent"),
    **tensors.experts(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.scale("attn_norm_scaled", h, c.residual_scale)
        h = lightning_attention(b, h, c) if c.is_recurrent else layers.attention(b, h, c, rope)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.scale("ffn_norm_scaled", h, c.residual_scale)
        x = b.add("resid_post", x, layers.experts(b, h, c, "softmax", is_normalized=True))
    layers.head(g, x, model, g.rms_norm)


def lightning_attention(b: Graph, h: str, c: Config) -> str:
    """Linear attention, its norm and its gate."""
    qkv = b.activate("qkv_act", b.linear("qkv", h, "attn_qkv"), "silu")
    q, k, v = (
        b.take_columns(name, qkv, i * c.head_dim, c.head_dim, c.n_heads) for i, name in enumerate("qkv")
    )
    gate = b.activate("gate_act", b.linear("gate", h, "attn_gate"), "sigmoid")
    h = b.lightning_attention("attn_heads", q, k, v, decays(c))
    h = b.rms_norm("attn_heads_norm", h, "attn_norm_2", c.norm_eps)
    return b.linear("attn_out", b.mul("attn_gated", h, gate), "attn_output")


def decays(c: Config) -> tuple[float, ...]:
    """The share of each head's state that is left after a token: a geometric series, by head and layer."""
    first = 2.0 ** -(2.0 ** -(math.log2(c.n_heads) - 3))
    slower = 1 - c.layer / max(c.n_layers - 1, 1) + 1e-5
    return tuple(math.exp(-slower * first ** (head + 1)) for head in range(c.n_heads))


MINIMAX_01 = Architecture("minimax-01", TENSORS, build, KEYS)
