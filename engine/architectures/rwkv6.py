"""`rwkv6`: RWKV-6 Finch; `rwkv6qwen2`: QRWKV, Qwen 2 and 2.5 with such layers in place of attention.

Time mixing is gated linear attention: its state decays at a rate per value of a key, which depends on the
token.  The input of every projection is the token mixed with the one before, in shares that depend on both
(token shift). RWKV-6 reads the state before the token is added, and adds the token's own value as a bonus;
its heads have norms; channel mixing is a feed-forward layer with a gate, on mixed tokens.  QRWKV reads the
state after the token is added, shares keys and values between heads, and has the feed-forward layer of Qwen.

Sources: Peng et al. 2024 (arXiv:2404.05892); Goldstein et al. 2025, "RADLADS" (arXiv:2505.03005); llama.cpp
`src/models/rwkv6.cpp`, `rwkv6qwen2.cpp`, `rwkv6-base.cpp`.
"""

from ..config.keys import LAYER_NORM, NO_HEADS, Key
from .parts import Architecture, Config, Graph, layers, optional, required, tensors

WKV_KEYS = NO_HEADS | {"wkv.head_size": Key("rwkv.head_dim", "integer", 1, 2**12)}

KEYS = WKV_KEYS | {
    "time_mix_extra_dim": Key("rwkv.time_mix_rank", "integer", 1, 2**16),
    "time_decay_extra_dim": Key("rwkv.decay_rank", "integer", 1, 2**16),
    "rescale_every_n_layers": Key("rwkv.rescale_interval", "integer", 0, 2**16, default=0),
}

TIME_MIX: tensors.Table = {
    "blk.N.time_mix_w1.weight": required("5*rwkv.time_mix_rank", "n_embd"),
    "blk.N.time_mix_w2.weight": required(5, "n_embd", "rwkv.time_mix_rank"),
    "blk.N.time_mix_lerp_x.weight": required(1, 1, "n_embd"),
    "blk.N.time_mix_lerp_fused.weight": optional(5, 1, 1, "n_embd"),
    "blk.N.time_mix_decay.weight": required("n_embd"),
    "blk.N.time_mix_decay_w1.weight": required("rwkv.decay_rank", "n_embd"),
    "blk.N.time_mix_decay_w2.weight": required("n_embd", "rwkv.decay_rank"),
    "blk.N.time_mix_receptance.weight": required("n_embd", "n_embd"),
    "blk.N.time_mix_key.weight": required("kv_width", "n_embd"),
    "blk.N.time_mix_value.weight": required("kv_width", "n_embd"),
    "blk.N.time_mix_gate.weight": required("n_embd", "n_embd"),
    "blk.N.time_mix_output.weight": required("n_embd", "n_embd"),
}

RESIDUAL_NORMS: tensors.Table = {
    **tensors.HEAD,
    "token_embd_norm.weight": required("n_embd"),
    "token_embd_norm.bias": required("n_embd"),
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm", "attn_norm_2"),
}

TENSORS = {
    **RESIDUAL_NORMS,
    **TIME_MIX,
    **{
        f"blk.N.time_mix_lerp_{part}.weight": required(1, 1, "n_embd", unless="time_mix_lerp_fused.weight")
        for part in "wkvrg"
    },
    "blk.N.time_mix_first.weight": required("n_heads", "rwkv.head_dim"),
    "blk.N.time_mix_ln.weight": required("n_embd"),
    "blk.N.time_mix_ln.bias": required("n_embd"),
    "blk.N.channel_mix_lerp_k.weight": required(1, 1, "n_embd"),
    "blk.N.channel_mix_lerp_r.weight": required(1, 1, "n_embd"),
    "blk.N.channel_mix_key.weight": required("n_ff", "n_embd"),
    "blk.N.channel_mix_value.weight": required("n_embd", "n_ff"),
    "blk.N.channel_mix_receptance.weight": required("n_embd", "n_embd"),
}

QWEN_TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **TIME_MIX,
    "blk.N.time_mix_receptance.bias": optional("n_embd"),
    "blk.N.time_mix_key.bias": optional("kv_width"),
    "blk.N.time_mix_value.bias": optional("kv_width"),
    **tensors.gated_ffn(),
}

NORM_EPS_OF_HEADS = 64e-5


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    x = g.layer_norm("token_embd_norm", x, "token_embd_norm", model.norm_eps)
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, time_mix(b, h, c))

        h = b.layer_norm("ffn_norm", x, "attn_norm_2", c.norm_eps)
        h = channel_mix(b, h)
        if c.rwkv.rescale_interval and (c.layer + 1) % c.rwkv.rescale_interval == 0:
            x = b.scale("resid_post", b.add("resid_unscaled", x, h), 0.5)
        else:
            x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.layer_norm)


def build_qwen(g: Graph, model: Config) -> None:
    qwen_blocks(g, model, time_mix)


def qwen_blocks(g: Graph, model: Config, mixer: layers.Mixer) -> None:
    """Qwen 2 with `mixer` in place of attention."""
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, mixer(b, h, c))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


def lerp(b: Graph, out: str, h: str, shift: str, share: str, row: int | None = None) -> str:
    """h plus `shift` times a learned share, which may be one `row` of a tensor of several."""
    return b.add(out, h, b.scale_columns(f"{out}_shift", shift, f"{share}.weight", row=row))


def time_mix(b: Graph, h: str, c: Config) -> str:
    """Linear attention of RWKV-6 or QRWKV."""
    x = mixtures(b, h, c)
    r, gate = b.linear("r", x["r"], "time_mix_receptance"), b.linear("gate", x["g"], "time_mix_gate")
    k, v = b.linear("k", x["k"], "time_mix_key"), b.linear("v", x["v"], "time_mix_value")
    w = b.soft_cap("w_low_act", b.linear("w_low", x["w"], "time_mix_decay_w1"), 1.0)  # tanh
    w = b.add_vector("w_biased", b.linear("w", w, "time_mix_decay_w2"), "time_mix_decay.weight")
    decay = b.scale("decay", b.activate("w_act", w, "exp"), -1.0)
    if b.has("time_mix_first"):
        h = b.gated_linear_attention("wkv", r, k, v, decay, c.n_heads, reads_before=True)
        h = b.add("wkv_sum", h, b.bonus("wkv_bonus", r, k, v, "time_mix_first", c.n_heads))
        h = b.layer_norm("wkv_norm", h, "time_mix_ln", NORM_EPS_OF_HEADS, c.n_heads)
        gate = b.activate("gate_act", gate, "silu")
    else:
        if (n_sharing := c.n_heads // c.n_kv_heads) > 1:
            k = b.repeat_columns("k_shared", k, n_sharing, c.n_kv_heads)
            v = b.repeat_columns("v_shared", v, n_sharing, c.n_kv_heads)
        kept = b.mul("k_kept", k, b.activate("kept", decay, "exp"))
        k = b.add("k_new", k, b.scale("k_kept_signed", kept, -1.0))
        r = b.scale("r_scaled", r, c.head_dim**-0.5)
        h = b.gated_linear_attention("wkv", r, k, v, decay, c.n_heads)
        gate = b.activate("gate_act", gate, "sigmoid")
    return b.linear("attn_out", b.mul("wkv_gated", h, gate), "time_mix_output")


def mixtures(b: Graph, h: str, c: Config) -> dict[str, str]:
    """Five mixtures of each token with the one before."""
    shift = b.token_shift("shift", h)
    low = b.linear("mix_low", lerp(b, "mix_in", h, shift, "time_mix_lerp_x"), "time_mix_w1")
    shares = b.head_linear("mixes", b.soft_cap("mix_low_act", low, 1.0), "time_mix_w2", 5)
    mixed = {}
    for i, part in enumerate("wkvrg"):
        share = b.take_columns(f"{part}_mix", shares, i * c.n_embd, c.n_embd)
        if b.has("time_mix_lerp_fused"):
            share = b.add_vector(f"{part}_mix_biased", share, "time_mix_lerp_fused.weight", row=i)
        else:
            share = b.add_vector(f"{part}_mix_biased", share, f"time_mix_lerp_{part}.weight")
        mixed[part] = b.add(f"{part}_x", h, b.mul(f"{part}_x_shift", shift, share))
    return mixed


def channel_mix(b: Graph, h: str) -> str:
    """A feed-forward layer on mixed tokens, with a gate if the file has it."""
    shift = b.token_shift("ffn_shift", h)
    k = lerp(b, "ffn_k_x", h, shift, "channel_mix_lerp_k")
    k = b.activate("ffn_act", b.linear("ffn_up", k, "channel_mix_key"), "relu2")
    if not b.has("channel_mix_receptance"):
        return b.linear("ffn_out", k, "channel_mix_value")
    r = b.linear("ffn_r", lerp(b, "ffn_r_x", h, shift, "channel_mix_lerp_r"), "channel_mix_receptance")
    value = b.linear("ffn_value", k, "channel_mix_value")
    return b.mul("ffn_out", b.activate("ffn_r_act", r, "sigmoid"), value)


RWKV6 = Architecture("rwkv6", TENSORS, build, KEYS | LAYER_NORM)
RWKV6QWEN2 = Architecture("rwkv6qwen2", QWEN_TENSORS, build_qwen, KEYS)
