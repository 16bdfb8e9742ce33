"""`gpt-oss`: gpt-oss-20b and 120b.

A mixture of experts in every layer, with biases and a clamped activation; the weights of the chosen experts
are the softmax of their logits.  Attention sinks, a sliding window in every second layer, and RoPE stretched
by YaRN. The tensor post_attention_norm is the norm before the experts.

Sources: OpenAI 2025 (arXiv:2508.10925); llama.cpp `src/models/openai-moe.cpp`.
"""

from ..config.keys import EXPERTS, ROPE_BASE_SWA, SLIDING_WINDOW, sliding_pattern
from .parts import Architecture, Config, Graph, layers, required, rope_table, rope_table_swa, tensors

KEYS = (
    EXPERTS
    | ROPE_BASE_SWA
    | {
        "attention.sliding_window": SLIDING_WINDOW,
        "attention.sliding_window_pattern": sliding_pattern(2),
    }
)

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm"),
    **tensors.attention(),
    "blk.N.attn_sinks.weight": required("n_heads"),
    **tensors.experts(),
    "blk.N.ffn_gate_inp.bias": required("moe.n_experts"),
    "blk.N.ffn_gate_exps.bias": required("moe.n_experts", "moe.n_ff"),
    "blk.N.ffn_up_exps.bias": required("moe.n_experts", "moe.n_ff"),
    "blk.N.ffn_down_exps.bias": required("moe.n_experts", "n_embd"),
}


def build(g: Graph, model: Config) -> None:
    global_rope, local_rope = rope_table(g, model), rope_table_swa(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = local_rope if c.is_sliding else global_rope

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, window=c.window, sinks="attn_sinks"))

        h = b.rms_norm("ffn_norm", x, "post_attention_norm", c.norm_eps)
        h = layers.experts(b, h, c, "softmax of chosen", is_normalized=False, activation=b.swiglu_oai)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


GPT_OSS = Architecture("gpt-oss", TENSORS, build, KEYS)
