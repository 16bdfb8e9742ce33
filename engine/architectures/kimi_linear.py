"""`kimi-linear`: Kimi Linear 48B-A3B.

Three of four layers are Kimi Delta Attention: the gated delta rule with a decay per value of a key, after
three short convolutions.  They are those without key heads.  The others have latent attention as in
`deepseek2`, without positions.  A leading dense layer, then mixtures of experts with a shared expert.

Sources: Kimi Team 2025 (arXiv:2510.26692); llama.cpp `src/models/kimi-linear.cpp`.
"""

from collections.abc import Callable
from dataclasses import replace

from ..config.keys import EXPERTS, HEAD_COUNTS, MIXER, Key
from . import deepseek2
from .deepseek2 import latent_attention
from .parts import Architecture, Config, Graph, layers, optional, required, tensors

NOT_READ = ("expert_weights_norm", "expert_shared_feed_forward_length")

KEYS = (
    HEAD_COUNTS
    | {name: EXPERTS[name] for name in EXPERTS if name not in NOT_READ}
    | {
        "attention.q_lora_rank": Key("mla.q_lora_rank", "integer", 0, 2**16, default=0),
        "attention.kv_lora_rank": Key("mla.kv_lora_rank", "integer", 1, 2**16),
        "attention.key_length_mla": Key("mla.key_dim", "integer", 1, 2**16),
        "attention.value_length_mla": Key("mla.value_dim", "integer", 1, 2**16),
        "ssm.conv_kernel": MIXER["ssm.conv_kernel"],
        "kda.head_dim": Key("kda.head_dim", "integer", 1, 2**16),
    }
)

RECURRENT_INERT = {
    "attention.recurrent_layers": "follows from attention.head_count_kv",
    "ssm.group_count": "every head has queries and keys of its own",
}

INERT = RECURRENT_INERT | {
    "expert_weights_norm": "the weights of the chosen experts always sum to 1",
    "expert_shared_feed_forward_length": "the shared experts are as wide as the others",
}

INERT_TENSORS = {
    f"blk.N.attn_{part}.bias": "no Kimi has it; llama.cpp's test model does, and leaves it aside"
    for part in ("q", "k", "v", "qkv")
}

DELTA_ATTENTION: tensors.Table = {
    "blk.N.attn_qkv.weight": optional("3*kda.d_inner", "n_embd", when="is_recurrent"),
    "blk.N.attn_k.weight": required("kda.d_inner", "n_embd", when="is_recurrent", unless="attn_qkv.weight"),
    "blk.N.attn_v.weight": required("kda.d_inner", "n_embd", when="is_recurrent", unless="attn_qkv.weight"),
    **{
        f"blk.N.ssm_conv1d_{part}.weight": required(1, "kda.d_inner", 1, "ssm.d_conv", when="is_recurrent")
        for part in "qkv"
    },
    "blk.N.ssm_f_a.weight": required("kda.head_dim", "n_embd", when="is_recurrent"),
    "blk.N.ssm_f_b.weight": required("kda.d_inner", "kda.head_dim", when="is_recurrent"),
    "blk.N.ssm_beta.weight": required("kda.n_heads", "n_embd", when="is_recurrent"),
    "blk.N.ssm_a": required(1, 1, "kda.n_heads", 1, when="is_recurrent"),
    "blk.N.ssm_dt.bias": required("kda.d_inner", when="is_recurrent"),
    "blk.N.ssm_g_a.weight": required("kda.head_dim", "n_embd", when="is_recurrent"),
    "blk.N.ssm_g_b.weight": required("kda.d_inner", "kda.head_dim", when="is_recurrent"),
    "blk.N.ssm_norm.weight": required("kda.head_dim", when="is_recurrent"),
}

LATENT_ATTENTION: tensors.Table = {
    f"blk.N.{name}.weight": replace(deepseek2.TENSORS[f"blk.N.{name}.weight"], when="has_attention")
    for name in (
        "attn_q_a",
        "attn_q_a_norm",
        "attn_q_b",
        "attn_kv_a_mqa",
        "attn_kv_a_norm",
        "attn_k_b",
        "attn_v_b",
    )
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    "blk.N.attn_q.weight": optional("hybrid_q_width", "n_embd"),
    **DELTA_ATTENTION,
    **LATENT_ATTENTION,
    "blk.N.attn_output.weight": required("n_embd", "hybrid_heads_width"),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        if c.is_recurrent:
            h = delta_attention(b, h, c, b.decay)
        else:
            h = latent_attention(b, h, c, rope="", scale=c.mla.key_dim**-0.5)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        gating = layers.GATINGS.get(c.moe.gating, "sigmoid")
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=True)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def bounded_decay(b: Graph, c: Config, rate_sign: int) -> Callable[[str, str], str]:
    """bound * sigmoid(rate * (x + bias)); `rate_sign` is that of the rates in the file."""

    def decay(out: str, x: str) -> str:
        x = b.add_vector("alpha_biased", x, "ssm_dt.bias")
        x = b.scale_columns("alpha_scaled", x, "ssm_a")
        x = b.activate("alpha_act", b.scale("alpha_signed", x, rate_sign), "sigmoid")
        return b.scale(out, x, c.kda.gate_bound)

    return decay


def delta_attention(b: Graph, h: str, c: Config, decay: Callable[[str, str], str]) -> str:
    """Kimi Delta Attention; `decay(out, x)` computes the decay of the state from its logits x."""
    if b.has("attn_qkv"):
        parts = {
            part: b.linear(part, h, "attn_qkv", (i * c.kda.d_inner, (i + 1) * c.kda.d_inner), has_bias=False)
            for i, part in enumerate("qkv")
        }
    else:
        parts = {part: b.linear(part, h, f"attn_{part}", has_bias=False) for part in "qkv"}
    for part, x in parts.items():
        x = b.causal_conv(f"{part}_conv", x, f"ssm_conv1d_{part}")
        parts[part] = b.activate(f"{part}_act", x, "silu")
    q = b.l2_norm("q_norm", parts["q"], c.norm_eps, c.kda.n_heads)
    k = b.l2_norm("k_norm", parts["k"], c.norm_eps, c.kda.n_heads)
    beta = b.activate("beta_act", b.linear("beta", h, "ssm_beta"), "sigmoid")
    forgets = decay("decay", low_rank(b, "alpha", h, "ssm_f_a", "ssm_f_b"))
    gate = low_rank(b, "z", h, "ssm_g" if b.has("ssm_g") else "ssm_g_a", "ssm_g_b")
    gate = b.activate("z_act", gate, "sigmoid")
    h = b.delta_rule("delta_heads", q, k, parts["v"], forgets, beta, c.kda.n_heads, c.kda.n_heads)
    h = b.rms_norm("delta_norm", h, "ssm_norm", c.norm_eps)
    return b.linear("attn_out", b.mul("delta_gated", h, gate), "attn_output")


def low_rank(b: Graph, out: str, h: str, first: str, second: str) -> str:
    """A low-rank linear layer, or a single matrix if the file has no second one."""
    if not b.has(second):
        return b.linear(out, h, first)
    return b.linear(out, b.linear(f"{out}_low", h, first), second)


KIMI_LINEAR = Architecture("kimi-linear", TENSORS, build, KEYS, INERT, INERT_TENSORS)
