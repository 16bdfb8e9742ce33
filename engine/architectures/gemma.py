"""`gemma`: Gemma 1; `gemma2`: Gemma 2.

The embedding is scaled by sqrt(n_embd) and is also the head; the feed-forward layer is a GEGLU. Gemma 2 adds
norms after each branch, a sliding window in every second layer, and soft caps on scores and logits.  Norm
weights in the file include the "+ 1" of the paper.

Sources: Gemma Team 2024 (arXiv:2403.08295, arXiv:2408.00118); llama.cpp `src/models/gemma.cpp`, `gemma2.cpp`.
"""

from ..config.keys import Key, optional_float, sliding_pattern
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

TENSORS = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention() | tensors.gated_ffn()

TENSORS_2 = TENSORS | tensors.norms("post_attention_norm", "post_ffw_norm")

KEYS_2 = {
    "attention.sliding_window": Key("sliding_window", "integer", 0, 2**31 - 1, default=4096),
    "attention.sliding_window_pattern": sliding_pattern(2),
    "attn_logit_softcapping": optional_float("attn_soft_cap", 50.0),
    "final_logit_softcapping": optional_float("final_soft_cap", 30.0),
}

INERT = {
    "attn_logit_softcapping": "Gemma 2 caps attention scores, Gemma 1 does not",
    "final_logit_softcapping": "Gemma 2 caps logits, Gemma 1 does not",
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd", scale=model.n_embd**0.5)
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c, "gelu"))
    layers.head(g, x, model, g.rms_norm)


def build_2(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    # The 27B model, which is the one with 46 layers, scales by n_embd / n_heads, which is not its head_dim.
    scale = (model.n_embd // model.n_heads if model.n_layers == 46 else model.head_dim) ** -0.5
    x = g.embed("token_embd", "token_embd", scale=model.n_embd**0.5)
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope, window=c.window, scale=scale)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.gated_ffn(b, h, c, "gelu")
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


GEMMA = Architecture("gemma", TENSORS, build, inert=INERT)
GEMMA2 = Architecture("gemma2", TENSORS_2, build_2, KEYS_2)
