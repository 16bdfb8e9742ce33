"""`llama`: Llama 1 to 3, Mistral, TinyLlama, SmolLM, Yi, Solar and many more that share their graph.

Pre-norm blocks of grouped-query attention with RoPE and a SwiGLU feed-forward layer; biases where the file
has them; the head is the embedding where the file has no head.

Sources: Touvron et al. 2023 (arXiv:2302.13971); llama.cpp `src/models/llama.cpp`.
"""

from ...kernels.rope import rope_frequencies
from ..hyperparameters import Config
from ..plan import Graph
from ..tensor_shapes import optional, required
from .architecture import Architecture

TENSORS = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "output_norm.weight": required("n_embd"),
    "output.weight": optional("n_vocab", "n_embd"),
    "rope_freqs.weight": optional("rope_pairs"),
    "blk.N.attn_norm.weight": required("n_embd"),
    "blk.N.attn_q.weight": required("q_width", "n_embd"),
    "blk.N.attn_q.bias": optional("q_width"),
    "blk.N.attn_k.weight": required("kv_width", "n_embd"),
    "blk.N.attn_k.bias": optional("kv_width"),
    "blk.N.attn_v.weight": required("kv_width", "n_embd"),
    "blk.N.attn_v.bias": optional("kv_width"),
    "blk.N.attn_output.weight": required("n_embd", "q_width"),
    "blk.N.attn_output.bias": optional("n_embd"),
    "blk.N.ffn_norm.weight": required("n_embd"),
    "blk.N.ffn_gate.weight": required("n_ff", "n_embd"),
    "blk.N.ffn_gate.bias": optional("n_ff"),
    "blk.N.ffn_up.weight": required("n_ff", "n_embd"),
    "blk.N.ffn_up.bias": optional("n_ff"),
    "blk.N.ffn_down.weight": required("n_embd", "n_ff"),
    "blk.N.ffn_down.bias": optional("n_embd"),
}

INERT = {
    "attention.sliding_window": "llama.cpp lets every layer of Mistral 7B v0.1 see all positions; so do we",
}


def build(g: Graph, c: Config) -> None:
    inv_freq = rope_frequencies(c.n_rot, c.rope_freq_base, c.rope_scale)
    rope = g.rope_table("rope", inv_freq, divisors="rope_freqs")  # Llama 3 stretches the slow ones
    scale = c.head_dim**-0.5

    x = g.embed("token_embd", "token_embd")
    for layer in range(c.n_layers):
        b = g.block(layer)

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        q = b.linear("q", h, "attn_q")
        k = b.linear("k", h, "attn_k")
        v = b.linear("v", h, "attn_v")
        q = b.rope("q_rope", q, c.head_dim, "norm", rope)
        k = b.rope("k_rope", k, c.head_dim, "norm", rope)
        h = b.attention("attn_heads", q, k, v, c.head_dim, scale)
        h = b.linear("attn_out", h, "attn_output")
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = b.silu_mul("ffn_act", b.linear("ffn_gate", h, "ffn_gate"), b.linear("ffn_up", h, "ffn_up"))
        h = b.linear("ffn_out", h, "ffn_down")
        x = b.add("resid_post", x, h)

    x = g.select_rows("out_rows", x)
    x = g.rms_norm("output_norm", x, "output_norm", c.norm_eps)
    g.linear("logits", x, "output" if g.has("output") else "token_embd")


LLAMA = Architecture("llama", TENSORS, build, inert=INERT)
