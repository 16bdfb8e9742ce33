"""`llama4`: Llama 4 Scout and Maverick (text).

Three of four layers attend within chunks of 8192 positions, with RoPE and then, unless there are 128 experts,
a norm without weight on queries and keys.  The fourth is global, without RoPE, and scales its queries up at
far positions.  Every layer or every second one is a mixture of experts with a shared expert; the weight of an
expert multiplies its input instead of its output.

Sources: Meta AI 2025, "The Llama 4 herd"; llama.cpp `src/models/llama4.cpp`.
"""

from ..config.keys import EXPERTS, SCALES, Key, sliding_pattern
from .parts import Architecture, Config, Graph, layers, rope_table, rope_table_swa, tensors

CHUNK = 8192  # whatever the file says, as in llama.cpp
TEMPERATURE, TEMPERATURE_STEP = 0.1, 8192
NO_ROPE_STEP = 4  # the last of each so many layers has no RoPE
N_EXPERTS_WITHOUT_NORMS = 128

KEYS = EXPERTS | {
    "attention.scale": SCALES["attention.scale"],
    "attention.sliding_window": Key("sliding_window", "integer", 1, 2**31 - 1, default=CHUNK),
    "attention.sliding_window_pattern": sliding_pattern(4),
    "interleave_moe_layer_step": Key("moe.layer_step", "integer", 1, 1024),
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=0.0, or_zero=True),
}

INERT = {
    "attention.chunk_size": "layers attend within chunks of 8192 whatever it says, as in llama.cpp",
    "use_qk_norm": "the number of experts says whether there are norms, as in llama.cpp",
}

TENSORS = {
    **tensors.HEAD,
    "rope_freqs.weight": tensors.ROPE_FACTORS["rope_freqs.weight"],
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(when="has_experts", width="moe.n_ff"),
}


def build(g: Graph, model: Config) -> None:
    ropes = {False: rope_table(g, model), True: rope_table_swa(g, model)}
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, attention(b, h, c, ropes[c.is_sliding]))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        if c.has_experts:
            h = layers.experts(b, h, c, "sigmoid", is_normalized=False, weighs_input=True)
        else:
            h = layers.gated_ffn(b, h, c)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def attention(b: Graph, h: str, c: Config, rope: str) -> str:
    """Attention within chunks or to all positions, with or without RoPE."""
    q, k, v = layers.qkv(b, h, c)
    if (c.layer + 1) % NO_ROPE_STEP:
        q = b.rope("q_rope", q, c.head_dim, "norm", rope)
        k = b.rope("k_rope", k, c.head_dim, "norm", rope)
        if c.moe.n_experts != N_EXPERTS_WITHOUT_NORMS:
            q = b.plain_rms_norm("q_norm", q, c.norm_eps, c.n_heads)
            k = b.plain_rms_norm("k_norm", k, c.norm_eps, c.n_kv_heads)
    else:
        q = b.query_scale("q_scaled", q, TEMPERATURE, TEMPERATURE_STEP, offset=1)
    scale = c.attention_scale or c.head_dim**-0.5
    h = b.attention("attn_heads", q, k, v, c.head_dim, scale, chunk=CHUNK if c.is_sliding else 0)
    return b.linear("attn_out", h, "attn_output")


LLAMA4 = Architecture("llama4", TENSORS, build, KEYS, INERT)
