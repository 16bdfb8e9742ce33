"""`command-r`: Command R, Command R+, Aya 23; `cohere2`: Command R7B, Command A, Aya Expanse.

Attention and a SwiGLU feed-forward layer in parallel, on one layer norm without bias; the embedding is also
the head, and the logits are scaled.  Command R+ has a norm on every head of queries and keys.  In `cohere2`
three of four layers have a sliding window and RoPE; the fourth is global, without RoPE.

Sources: Cohere 2024, 2025 (arXiv:2504.00698); llama.cpp `src/models/command-r.cpp`, `cohere2.cpp`.
"""

from ..config.keys import LAYER_NORM, SCALES, SLIDING_WINDOW, sliding_pattern
from .parts import Architecture, Config, Graph, layers, optional, rope_table, tensors

KEYS = LAYER_NORM | {"logit_scale": SCALES["logit_scale"]}

COHERE2_KEYS = KEYS | {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(4),
}

COHERE2_INERT = {"rope.freq_base_swa": "llama.cpp uses rope.freq_base in all layers"}

COHERE2_TENSORS = tensors.HEAD | tensors.norms("attn_norm") | tensors.attention() | tensors.gated_ffn()

TENSORS = {
    **COHERE2_TENSORS,
    "blk.N.attn_q_norm.weight": optional("n_heads", "head_dim"),
    "blk.N.attn_k_norm.weight": optional("n_kv_heads", "head_dim"),
}


def build(g: Graph, model: Config) -> None:
    table = rope_table(g, model)
    is_mixed = model.architecture == "cohere2"
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table if c.is_sliding or not is_mixed else ""

        normed = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add(
            "resid_mid", x, layers.attention(b, normed, c, rope, "norm", window=c.window, layer_norms=True)
        )
        x = b.add("resid_post", x, layers.gated_ffn(b, normed, c))
    layers.head(g, x, model, g.layer_norm, scale=model.logit_scale or 1.0)


COMMAND_R = Architecture("command-r", TENSORS, build, KEYS)
COHERE2 = Architecture("cohere2", COHERE2_TENSORS, build, COHERE2_KEYS, COHERE2_INERT)
