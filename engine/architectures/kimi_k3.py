"""`kimi-k3`: Kimi K3.

As `kimi-linear`, but the decay has a lower bound, the activations of feed-forward layers have soft caps,
latent attention has a gate, and experts read and write a shorter vector.  The residual stream starts anew
every few layers (attention residuals): each half of a block reads a mean of the current stream and all
earlier ones, with weights that depend on the token.

Sources: Kimi Team 2026, "Kimi K3" and "Attention Residuals"; llama.cpp `src/models/kimi-k3.cpp`.
"""

from ..config.keys import EXPERTS, Key, optional_float
from . import kimi_linear
from .deepseek2 import latent_attention
from .kimi_linear import INERT_TENSORS, bounded_decay, delta_attention
from .parts import Architecture, Config, Graph, layers, optional, required, tensors

KEYS = kimi_linear.KEYS | {
    "activation.situ_beta": Key("situ_beta", "float", 0, 1e9),
    "activation.situ_linear_beta": optional_float("situ_linear_beta", 0.0),
    "attn_res.block_size": Key("residual_block", "integer", 1, 1024),
    "expert_latent_length": Key("moe.n_latent", "integer", 0, 2**20, default=0),
    "expert_weights_norm": EXPERTS["expert_weights_norm"],
    "kda.gate_lower_bound": Key("kda.gate_bound", "float", -1e9, -1e-9, default=0.0),
}

INERT = kimi_linear.RECURRENT_INERT | {
    "expert_shared_feed_forward_length": "the shared experts are as wide as the others",
}

GATES = ("blk.N.ssm_g_a.weight", "blk.N.ssm_g_b.weight")

TENSORS: tensors.Table = {
    **{name: kimi_linear.TENSORS[name] for name in kimi_linear.TENSORS if name not in GATES},
    "output_res_score.weight": required("n_embd"),
    "blk.N.attn_res_score.weight": required("n_embd"),
    "blk.N.ffn_res_score.weight": required("n_embd"),
    "blk.N.ssm_a": required("kda.n_heads", when="is_recurrent"),
    "blk.N.ssm_g.weight": required("kda.d_inner", "n_embd", when="is_recurrent"),
    "blk.N.attn_gate.weight": optional("n_heads*mla.value_dim", "n_embd", when="has_attention"),
    "blk.N.ffn_gate_exps.weight": required("moe.n_experts", "moe.n_ff", "expert_width", when="has_experts"),
    "blk.N.ffn_up_exps.weight": required("moe.n_experts", "moe.n_ff", "expert_width", when="has_experts"),
    "blk.N.ffn_down_exps.weight": required("moe.n_experts", "expert_width", "moe.n_ff", when="has_experts"),
    "blk.N.ffn_routed_down.weight": optional("expert_width", "n_embd", when="has_experts"),
    "blk.N.ffn_routed_norm.weight": optional("expert_width", when="has_experts"),
    "blk.N.ffn_routed_up.weight": optional("n_embd", "expert_width", when="has_experts"),
}

K3_INERT_TENSORS = INERT_TENSORS | {
    "blk.N.attn_res_score.weight": "before the first block there is one residual stream",
}


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    bank = ""
    for b, c in layers.blocks(g, model):
        h = pooled(b, c, "attn", bank, x, "attn_res_score")
        starts_anew = c.layer % c.residual_block == 0
        if starts_anew:
            bank = b.join_columns("resid_bank", bank, x) if bank else x
        h = b.rms_norm("attn_norm", h, "attn_norm", c.norm_eps)
        if c.is_recurrent:
            decay = bounded_decay(b, c, rate_sign=-1) if c.kda.gate_bound else b.decay
            h = delta_attention(b, h, c, decay)
        else:
            h = latent_attention(b, h, c, rope="", scale=c.mla.key_dim**-0.5)
        x = h if starts_anew else b.add("resid_mid", x, h)

        h = pooled(b, c, "ffn", bank, x, "ffn_res_score")
        h = b.rms_norm("ffn_norm", h, "ffn_norm", c.norm_eps)
        h = latent_experts(b, h, c) if c.has_experts else dense(b, h, c)
        x = b.add("resid_post", x, h)
    x = pooled(g, model, "output", bank, x, "output_res_score")
    layers.head(g, x, model, g.rms_norm)


def pooled(b: Graph, c: Config, part: str, bank: str, x: str, weight: str) -> str:
    """A weighted mean of the current residual stream and the earlier ones in `bank`."""
    if not bank:
        return x
    streams = b.join_columns(f"{part}_streams", x, bank)
    return b.pool_streams(f"{part}_pooled", streams, weight, c.norm_eps)


def soft_swiglu(b: Graph, c: Config) -> layers.Gated:
    """SwiGLU with soft caps on gate and up; a cap of 0 on up means none."""

    def activation(out: str, gate: str, up: str) -> str:
        part = out.removesuffix("_act")
        soft = b.soft_cap(f"{part}_gate_soft", gate, c.situ_beta)
        gate = b.mul(f"{part}_gate_situ", soft, b.activate(f"{part}_gate_share", gate, "sigmoid"))
        return b.mul(out, gate, b.soft_cap(f"{part}_up_soft", up, c.situ_linear_beta))

    return activation


def dense(b: Graph, h: str, c: Config) -> str:
    """A feed-forward layer with a gate."""
    gate, up = b.linear("ffn_gate", h, "ffn_gate"), b.linear("ffn_up", h, "ffn_up")
    return b.linear("ffn_out", soft_swiglu(b, c)("ffn_act", gate, up), "ffn_down")


def latent_experts(b: Graph, h: str, c: Config) -> str:
    """Experts on a shorter vector, chosen by the full one, and a shared expert on the full one."""
    gating = layers.GATINGS.get(c.moe.gating, "sigmoid")
    ids, weights = layers.route(b, h, c, gating, is_normalized=c.moe.weights_norm)
    latent = b.linear("moe_in", h, "ffn_routed_down") if c.moe.n_latent else h
    routed = layers.gated_experts(b, latent, c, ids, weights, soft_swiglu(b, c))
    if b.has("ffn_routed_norm"):
        routed = b.rms_norm("moe_norm_out", routed, "ffn_routed_norm", c.norm_eps)
    if c.moe.n_latent:
        routed = b.linear("moe_up", routed, "ffn_routed_up")
    if not b.has("ffn_up_shexp"):
        return routed
    return b.add("ffn_out", routed, layers.shared_expert(b, h, c, soft_swiglu(b, c)))


KIMI_K3 = Architecture("kimi-k3", TENSORS, build, KEYS, INERT, K3_INERT_TENSORS)
