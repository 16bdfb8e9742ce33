"""`mimo2`: MiMo V2; `step35`: Step 3.5.

Most layers have a sliding window and a RoPE base of their own.  Mixtures of experts with sigmoid gating and a
selection bias in the layers whose tensors say so.  In MiMo the heads of values are smaller than those of
keys; it has attention sinks where the file has them, and a factor on the output of attention.  Step has norms
on heads, a gate per head, a shared expert and clamped activations of the experts, and rotates half as much of
each head in the global layers.

Sources: Xiaomi 2026, "MiMo-V2-Flash" (arXiv:2601.02780); StepFun 2026, "Step 3.5 Flash"; llama.cpp
`src/models/mimo2.cpp`, `step35.cpp`.
"""

from dataclasses import replace

from ...errors import ModelError
from ..config.keys import (
    EXPERTS,
    HEADS_BY_LAYER,
    N_ROT_SWA,
    REQUIRED,
    SLIDING_WINDOW,
    SWIGLU_LIMITS,
    Key,
    optional_float,
    sliding_pattern,
)
from .parts import Architecture, Config, Graph, layers, optional, rope_table, rope_table_swa, tensors

COMMON_KEYS = (
    EXPERTS
    | HEADS_BY_LAYER
    | {
        "attention.sliding_window": SLIDING_WINDOW,
        "attention.sliding_window_pattern": sliding_pattern(REQUIRED),
        "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=10000.0),
    }
)

KEYS = COMMON_KEYS | {"attention.value_scale": optional_float("value_scale", 1.0)}

STEP_KEYS = COMMON_KEYS | SWIGLU_LIMITS | {"rope.dimension_count_swa": N_ROT_SWA}

COMMON = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.where_present(tensors.gated_ffn() | tensors.experts()),
}

TENSORS = {**COMMON, "blk.N.attn_sinks.weight": optional("n_heads")}

STEP_TENSORS = {
    **COMMON,
    **tensors.where_present(tensors.qk_norms() | tensors.shared_expert()),
    "rope_freqs.weight": optional("rope.n_rot/2"),
    "blk.N.attn_gate.weight": optional("n_heads", "n_embd"),
}

STEP_INERT = {"moe_every_n_layers": "a layer has experts where there are tensors of theirs"}

BESIDE_EXPERTS = {
    f"blk.N.ffn_{part}.weight": "llama.cpp's test model has it beside experts, and leaves it aside"
    for part in ("gate", "up", "down")
}

INERT_TENSORS = BESIDE_EXPERTS | {
    f"blk.N.{name}": "no MiMo has it; llama.cpp's test model does, and leaves it aside"
    for name in ("attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_qkv.bias")
}


def build(g: Graph, model: Config) -> None:
    table, table_swa = rope_table(g, model), rope_table_swa(g, model, is_stretched=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope, sinks = table_swa if c.is_sliding else table, "attn_sinks" if b.has("attn_sinks") else ""

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope, window=c.window, sinks=sinks, qkv_bias=False)
        x = b.add("resid_mid", x, b.scale("attn_scaled", h, c.value_scale or 1.0))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "sigmoid", is_normalized=True)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def build_step(g: Graph, model: Config) -> None:
    if model.rope.n_rot % 4:
        raise ModelError(
            f"rope.dimension_count is {model.rope.n_rot}, must be a multiple of 4: half is rotated"
        )
    table = rope_table(g, replace(model, rope=replace(model.rope, n_rot=model.rope.n_rot // 2)))
    table_swa = rope_table_swa(g, model, is_stretched=False, has_factors=False)
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, table_swa if c.is_sliding else table, window=c.window)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        of_experts = layers.limited_swiglu(b, c.moe.swiglu_limit, caps_silu=True)
        of_shared = layers.limited_swiglu(b, c.moe.swiglu_limit_shared, caps_silu=True)
        is_normalized = c.moe.weights_norm
        h = layers.experts_or_ffn(b, h, c, gating, of_experts, of_shared, is_normalized=is_normalized)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


MIMO2 = Architecture("mimo2", TENSORS, build, KEYS, inert_tensors=INERT_TENSORS)
STEP35 = Architecture("step35", STEP_TENSORS, build_step, STEP_KEYS, STEP_INERT, BESIDE_EXPERTS)
