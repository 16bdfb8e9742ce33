"""`apertus`: Apertus 8B and 70B.

As llama, with a norm on every head of queries and keys and NeoX RoPE pairs.  The feed-forward layer has no
gate; its activation is xIELU, whose parameters each layer has of its own.

Sources: Swiss AI 2025 (arXiv:2509.14233); llama.cpp `src/models/apertus.cpp`.
"""

from ..config.keys import Key
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = {
    f"xielu.{name}": Key(f"xielu.{name}", "float", -1e6, 1e6, per_layer="any", is_prefixed=False)
    for name in ("alpha_n", "alpha_p", "beta", "eps")
}

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = b.linear("ffn_up", h, "ffn_up")
        h = b.xielu("ffn_act", h, c.xielu.alpha_n, c.xielu.alpha_p, c.xielu.beta, c.xielu.eps)
        x = b.add("resid_post", x, b.linear("ffn_out", h, "ffn_down"))
    layers.head(g, x, model, g.rms_norm)


APERTUS = Architecture("apertus", TENSORS, build, KEYS)
