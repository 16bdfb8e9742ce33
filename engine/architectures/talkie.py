"""`talkie`: Talkie 13B.

Norms without weights before each branch, on the embedding, and on every head of queries and keys, after RoPE;
each head of queries has a factor.  Every layer adds the embedding once more, times a factor of its own.

Sources: llama.cpp `src/models/talkie.cpp`.
"""

from ..config.keys import Key
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = {"logit_scale": Key("logit_scale", "float", -1e9, 1e9)}

TENSORS = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "output.weight": required("n_vocab", "n_embd"),
    **tensors.attention(),
    "blk.N.attn_q_norm.weight": required("n_heads", 1),
    **tensors.gated_ffn(),
    "blk.N.layer_output_scale.weight": required(1),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    x = embedding = g.plain_rms_norm("token_embd_norm", x, model.norm_eps)
    for b, c in layers.blocks(g, model):
        h = b.plain_rms_norm("attn_norm", x, c.norm_eps)
        x = b.add("resid_mid", x, attention(b, h, c, rope))

        h = b.plain_rms_norm("ffn_norm", x, c.norm_eps)
        h = b.add("resid_ffn", x, layers.gated_ffn(b, h, c))
        skip = b.scale_columns("embd_scaled", embedding, "layer_output_scale.weight")
        x = b.add("resid_post", h, skip)
    g.select_rows(x)
    x = g.plain_rms_norm("output_norm", x, model.norm_eps)
    x = g.linear("logits_raw" if model.logit_scale != 1 else "logits", x, "output")
    g.scale("logits", x, model.logit_scale)


def attention(b: Graph, h: str, c: Config, rope: str) -> str:
    q, k, v = layers.qkv(b, h, c)
    q = b.rope("q_rope", q, c.head_dim, "neox", rope)
    k = b.rope("k_rope", k, c.head_dim, "neox", rope)
    q = b.plain_rms_norm("q_norm", q, c.norm_eps, c.n_heads)
    q = b.scale_columns("q_scaled", q, "attn_q_norm.weight")
    k = b.plain_rms_norm("k_norm", k, c.norm_eps, c.n_kv_heads)
    h = b.attention("attn_heads", q, k, v, c.head_dim, c.head_dim**-0.5)
    return b.linear("attn_out", h, "attn_output", has_bias=False)


TALKIE = Architecture("talkie", TENSORS, build, KEYS)
