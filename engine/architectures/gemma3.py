"""`gemma3`: Gemma 3 from 270M to 27B (text), MedGemma.

Norms before and after each branch, and on every head of queries and keys; a GEGLU feed-forward layer; five
layers with a sliding window and a RoPE base of their own to each layer that sees all positions; the embedding
is scaled by sqrt(n_embd).  Norm weights come with their "+ 1" added.

Sources: Gemma Team 2025 (arXiv:2503.19786); llama.cpp `src/models/gemma3.cpp`.
"""

from ...kernels.rope import rope_frequencies
from ..hyperparameters import Config, Key
from ..plan import Graph
from ..tensor_shapes import optional, required
from .architecture import Architecture

KEYS = {
    "attention.sliding_window": Key("sliding_window", "integer", 0, 2**31 - 1, default=0),
    "attention.sliding_window_pattern": Key(
        "sliding_pattern", "integer", 0, 1024, default=6, per_layer="any"
    ),
    "rope.freq_base_swa": Key("rope_freq_base_swa", "float", 0, 1e15, default=10000.0),
}

INERT = {
    "attn_logit_softcapping": "Gemma 2 caps attention scores, Gemma 3 normalizes queries and keys instead",
}

TENSORS = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "output_norm.weight": required("n_embd"),
    "output.weight": optional("n_vocab", "n_embd"),
    "blk.N.attn_norm.weight": required("n_embd"),
    "blk.N.attn_q.weight": required("q_width", "n_embd"),
    "blk.N.attn_q.bias": optional("q_width"),
    "blk.N.attn_q_norm.weight": required("head_dim"),
    "blk.N.attn_k.weight": required("kv_width", "n_embd"),
    "blk.N.attn_k.bias": optional("kv_width"),
    "blk.N.attn_k_norm.weight": required("head_dim"),
    "blk.N.attn_v.weight": required("kv_width", "n_embd"),
    "blk.N.attn_v.bias": optional("kv_width"),
    "blk.N.attn_output.weight": required("n_embd", "q_width"),
    "blk.N.post_attention_norm.weight": required("n_embd"),
    "blk.N.ffn_norm.weight": required("n_embd"),
    "blk.N.ffn_gate.weight": required("n_ff", "n_embd"),
    "blk.N.ffn_up.weight": required("n_ff", "n_embd"),
    "blk.N.ffn_down.weight": required("n_embd", "n_ff"),
    "blk.N.post_ffw_norm.weight": required("n_embd"),
}


def build(g: Graph, c: Config) -> None:
    global_rope = g.rope_table("rope", rope_frequencies(c.n_rot, c.rope_freq_base, c.rope_scale))
    local_rope = g.rope_table("rope_swa", rope_frequencies(c.n_rot, c.rope_freq_base_swa))
    # The 27B model, which is the one with 62 layers, scales by the width that its heads would usually have.
    scale = (c.n_embd / c.n_heads if c.n_layers == 62 else c.head_dim) ** -0.5

    x = g.embed("token_embd", "token_embd", scale=c.n_embd**0.5)
    for layer in range(c.n_layers):
        b = g.block(layer)
        is_local = c.sliding_layers[layer]
        rope, window = (local_rope, c.sliding_window) if is_local else (global_rope, 0)

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        q = b.linear("q", h, "attn_q")
        k = b.linear("k", h, "attn_k")
        v = b.linear("v", h, "attn_v")
        q = b.rms_norm("q_norm", q, "attn_q_norm", c.norm_eps)
        k = b.rms_norm("k_norm", k, "attn_k_norm", c.norm_eps)
        q = b.rope("q_rope", q, c.head_dim, "neox", rope)
        k = b.rope("k_rope", k, c.head_dim, "neox", rope)
        h = b.attention("attn_heads", q, k, v, c.head_dim, scale, window)
        h = b.linear("attn_out", h, "attn_output")
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = b.gelu_mul("ffn_act", b.linear("ffn_gate", h, "ffn_gate"), b.linear("ffn_up", h, "ffn_up"))
        h = b.linear("ffn_out", h, "ffn_down")
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)

    x = g.select_rows("out_rows", x)
    x = g.rms_norm("output_norm", x, "output_norm", c.norm_eps)
    g.linear("logits", x, "output" if g.has("output") else "token_embd")


GEMMA3 = Architecture("gemma3", TENSORS, build, KEYS, INERT)
