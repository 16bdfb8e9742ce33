"""`mimo2`: MiMo V2; `step35`: Step 3.5.

A sliding window in most layers, which have a RoPE base of their own, and mixtures of experts, chosen by
sigmoid and a bias, in those layers whose tensors say so.  MiMo's heads of values are smaller than those of
keys, with attention sinks where the file has them, and a factor on what attention adds.  Step has norms on
heads, a gate on what each gives, a shared expert, limits in the experts, and rotates half as much of each
head in the layers that see all positions.

Sources: Xiaomi 2026, "MiMo-V2-Flash" (arXiv:2601.02780); StepFun 2026, "Step 3.5 Flash"; llama.cpp
`src/models/mimo2.cpp`, `step35.cpp`.
"""

from ..config import Config
from ..graph import Graph
from ..keys import (
    EXPERTS,
    HEADS_BY_LAYER,
    REQUIRED,
    SLIDING_WINDOW,
    Key,
    optional_float,
    sliding_pattern,
)
from ..tensor_shapes import optional
from .architecture import Architecture
from .layers import attention, blocks, experts, gated_ffn, head
from .rope import rope_table, rope_table_swa
from .tensors import HEAD, norms, where_present
from .tensors import attention as attention_tensors
from .tensors import experts as expert_tensors
from .tensors import gated_ffn as ffn_tensors

KEYS = (
    EXPERTS
    | HEADS_BY_LAYER
    | {
        "attention.sliding_window": SLIDING_WINDOW,
        "attention.sliding_window_pattern": sliding_pattern(REQUIRED),
        "rope.freq_base_swa": Key("rope_freq_base_swa", "float", 0, 1e15, default=10000.0),
        "attention.value_scale": optional_float("value_scale", 1.0),
    }
)

TENSORS = {
    **HEAD,
    **norms("attn_norm", "ffn_norm"),
    **attention_tensors(),
    "blk.N.attn_sinks.weight": optional("n_heads"),
    **where_present(ffn_tensors() | expert_tensors()),
}

INERT_TENSORS = {
    f"blk.N.{name}": "no MiMo has it; llama.cpp's test model does, and leaves it aside"
    for name in ("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_qkv.bias")
} | {
    f"blk.N.ffn_{part}.weight": "llama.cpp's test model has it beside experts, and leaves it aside"
    for part in ("gate", "up", "down")
}


def build(g: Graph, model: Config) -> None:
    table, table_swa = rope_table(g, model), rope_table_swa(g, model, is_stretched=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        rope, sinks = table_swa if c.is_sliding else table, "attn_sinks" if b.has("attn_sinks") else ""

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = attention(b, h, c, rope, window=c.window, sinks=sinks, qkv_bias=False)
        x = b.add("resid_mid", x, b.scale("attn_scaled", h, c.value_scale or 1.0))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        if b.has("ffn_gate_inp"):
            h = experts(b, h, c, "sigmoid", is_normalized=True)
        else:
            h = gated_ffn(b, h, c)
        x = b.add("resid_post", x, h)
    head(g, x, model, g.rms_norm)


MIMO2 = Architecture("mimo2", TENSORS, build, KEYS, inert_tensors=INERT_TENSORS)
