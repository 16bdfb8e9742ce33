"""`rwkv7`: RWKV-7 Goose; `arwkv7`: ARWKV, Qwen 2.5 with such layers in place of attention.

Time mixing is a generalized delta rule: it replaces what the state holds for a key, at a rate that depends on
the token, and the state decays at a rate per value of a key.  The input of every projection is the token
mixed with the one before, in fixed shares (token shift); values are mixed with those of the first layer.  A
bonus from each head's own value is added after the norm.  RWKV-7 has a feed-forward layer on mixed tokens,
ARWKV that of Qwen.

Sources: Peng et al. 2025 (arXiv:2503.14456); Yueyu et al. 2025, "ARWKV" (arXiv:2501.15570); llama.cpp
`src/models/rwkv7.cpp`, `arwkv7.cpp`, `rwkv7-base.cpp`.
"""

from ..config.keys import LAYER_NORM, Key
from .parts import Architecture, Config, Graph, layers, optional, required, tensors
from .rwkv6 import NORM_EPS_OF_HEADS, RESIDUAL_NORMS, WKV_KEYS, channel_mix, lerp, qwen_blocks

KEYS = WKV_KEYS | {
    "attention.decay_lora_rank": Key("rwkv.decay_rank", "integer", 1, 2**16),
    "attention.iclr_lora_rank": Key("rwkv.in_context_rank", "integer", 1, 2**16),
    "attention.value_residual_mix_lora_rank": Key("rwkv.value_mix_rank", "integer", 1, 2**16),
    "attention.gate_lora_rank": Key("rwkv.gate_rank", "integer", 0, 2**16, default=0),
}

TIME_MIX: tensors.Table = {
    "blk.N.time_mix_lerp_fused.weight": required("rwkv.n_lerps", 1, 1, "n_embd"),
    "blk.N.time_mix_w0.weight": required("n_embd"),
    "blk.N.time_mix_w1.weight": required("rwkv.decay_rank", "n_embd"),
    "blk.N.time_mix_w2.weight": required("n_embd", "rwkv.decay_rank"),
    "blk.N.time_mix_a0.weight": required("n_embd"),
    "blk.N.time_mix_a1.weight": required("rwkv.in_context_rank", "n_embd"),
    "blk.N.time_mix_a2.weight": required("n_embd", "rwkv.in_context_rank"),
    "blk.N.time_mix_v0.weight": required("n_embd"),
    "blk.N.time_mix_v1.weight": required("own_value_mix_rank", "n_embd"),
    "blk.N.time_mix_v2.weight": required("n_embd", "own_value_mix_rank"),
    "blk.N.time_mix_g1.weight": optional("rwkv.gate_rank", "n_embd"),
    "blk.N.time_mix_g2.weight": optional("n_embd", "rwkv.gate_rank"),
    "blk.N.time_mix_k_k.weight": required("n_embd"),
    "blk.N.time_mix_k_a.weight": required("n_embd"),
    "blk.N.time_mix_r_k.weight": required("n_embd"),
    "blk.N.time_mix_key.weight": required("n_embd", "n_embd"),
    "blk.N.time_mix_value.weight": required("n_embd", "n_embd"),
    "blk.N.time_mix_receptance.weight": required("n_embd", "n_embd"),
    "blk.N.time_mix_ln.weight": optional("n_embd"),
    "blk.N.time_mix_ln.bias": optional("n_embd"),
    "blk.N.time_mix_output.weight": required("n_embd", "n_embd"),
}

TENSORS = {
    **RESIDUAL_NORMS,
    **TIME_MIX,
    "blk.N.channel_mix_lerp_k.weight": required(1, 1, "n_embd"),
    "blk.N.channel_mix_key.weight": required("n_ff", "n_embd"),
    "blk.N.channel_mix_value.weight": required("n_embd", "n_ff"),
}

QWEN_TENSORS = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | TIME_MIX | tensors.gated_ffn()

INERT_TENSORS = {
    f"blk.N.time_mix_v{i}.weight": "the first layer has it, but its values are the first" for i in range(3)
}

SLOWEST_DECAY = 0.606531  # exp(-1 / 2)


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    x = g.layer_norm("token_embd_norm", x, "token_embd_norm", model.norm_eps)
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, time_mix(b, h, c))

        h = b.layer_norm("ffn_norm", x, "attn_norm_2", c.norm_eps)
        x = b.add("resid_post", x, channel_mix(b, h))
    layers.head(g, x, model, g.layer_norm)


def build_qwen(g: Graph, model: Config) -> None:
    qwen_blocks(g, model, time_mix)


def time_mix(b: Graph, h: str, c: Config) -> str:
    """Linear attention of RWKV-7."""
    shift = b.token_shift("shift", h)
    parts = "rwkvag" if c.rwkv.gate_rank else "rwkva"
    x = {part: lerp(b, f"{part}_x", h, shift, "time_mix_lerp_fused", i) for i, part in enumerate(parts)}
    r, k = b.linear("r", x["r"], "time_mix_receptance"), b.linear("k", x["k"], "time_mix_key")
    v = values(b, x["v"], c)
    w = b.soft_cap("w_low_act", b.linear("w_low", x["w"], "time_mix_w1"), 1.0)  # tanh
    w = b.add_vector("w_biased", b.linear("w", w, "time_mix_w2"), "time_mix_w0.weight")
    decay = b.scale("decay", b.activate("w_act", w, "sigmoid"), -SLOWEST_DECAY)
    a = b.linear("a_raw", b.linear("a_low", x["a"], "time_mix_a1"), "time_mix_a2")
    a = b.activate("a", b.add_vector("a_biased", a, "time_mix_a0.weight"), "sigmoid")

    removed = b.scale_columns("removal", k, "time_mix_k_k.weight")
    removed = b.l2_norm("removal_norm", removed, 1e-24, c.n_heads)
    written = b.mul("removal_rate", removed, a)
    removed = b.scale("removal_signed", removed, -1.0)
    k = replacement_keys(b, k, a)
    h = b.generalized_delta_rule("wkv", r, k, v, removed, written, decay, c.n_heads)
    if b.has("time_mix_ln"):
        h = b.layer_norm("wkv_norm", h, "time_mix_ln", NORM_EPS_OF_HEADS, c.n_heads)
    h = b.add("wkv_sum", h, b.bonus("wkv_bonus", r, k, v, "time_mix_r_k", c.n_heads))
    if c.rwkv.gate_rank:
        gate = b.activate("gate_low_act", b.linear("gate_low", x["g"], "time_mix_g1"), "sigmoid")
        h = b.mul("wkv_gated", h, b.linear("gate", gate, "time_mix_g2"))
    return b.linear("attn_out", h, "time_mix_output")


def values(b: Graph, x: str, c: Config) -> str:
    """Values, mixed with those of the first layer."""
    v = b.linear("v", x, "time_mix_value")
    if c.layer == 0:
        return v
    share = b.linear("v_share", b.linear("v_low", x, "time_mix_v1"), "time_mix_v2")
    share = b.activate("v_share_act", b.add_vector("v_share_biased", share, "time_mix_v0.weight"), "sigmoid")
    lack = b.add("v_lack", "blk.0.v", b.scale("v_signed", v, -1.0))
    return b.add("v_mixed", v, b.mul("v_lack_share", lack, share))


def replacement_keys(b: Graph, k: str, a: str) -> str:
    """k * (1 + (a - 1) * weight)."""
    rate = b.scale_columns("k_rate", k, "time_mix_k_a.weight")
    gain = b.add("k_rate_gain", b.mul("k_rate_a", rate, a), b.scale("k_rate_signed", rate, -1.0))
    return b.add("k_replaced", k, gain)


RWKV7 = Architecture("rwkv7", TENSORS, build, KEYS | LAYER_NORM, inert_tensors=INERT_TENSORS)
ARWKV7 = Architecture("arwkv7", QWEN_TENSORS, build_qwen, KEYS, inert_tensors=INERT_TENSORS)
