"""`gemma3`: Gemma 3 from 270M to 27B (text), MedGemma.

Norms before and after each branch, and on every head of queries and keys; a GEGLU feed-forward layer.  For
each global layer there are five with a sliding window and a RoPE base of their own.  The embedding is scaled
by sqrt(n_embd). Norm weights in the file include the "+ 1" of the paper.

Sources: Gemma Team 2025 (arXiv:2503.19786); llama.cpp `src/models/gemma3.cpp`.
"""

from ..config.keys import SLIDING_WINDOW, Key, optional_float, sliding_pattern
from .parts import Architecture, Config, Graph, layers, rope_table, rope_table_swa, tensors

KEYS = {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(6),
    "final_logit_softcapping": optional_float("final_soft_cap", 0.0),
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=10000.0),
}

INERT = {
    "attn_logit_softcapping": "Gemma 2 caps attention scores, Gemma 3 normalizes queries and keys instead",
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    layers.head(g, build_blocks(g, model), model, g.rms_norm)


def build_blocks(g: Graph, model: Config, is_causal: bool = True) -> str:
    """The graph without the last norm and the head.  If not `is_causal`, a window is centred on its token."""
    global_rope = rope_table(g, model)
    local_rope = rope_table_swa(g, model, is_stretched=False)
    # The 27B model, which is the one with 62 layers, scales by n_embd / n_heads, which is not its head_dim.
    scale = (model.n_embd / model.n_heads if model.n_layers == 62 else model.head_dim) ** -0.5

    local_window = model.sliding_window if is_causal else model.sliding_window // 2 + 1

    x = g.embed("token_embd", "token_embd", scale=model.n_embd**0.5)
    for b, c in layers.blocks(g, model):
        rope, window = (local_rope, local_window) if c.is_sliding else (global_rope, 0)

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope, window=window, scale=scale, is_causal=is_causal)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.gated_ffn(b, h, c, "gelu")
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        x = b.add("resid_post", x, h)
    return x


GEMMA3 = Architecture("gemma3", TENSORS, build, KEYS, INERT)
