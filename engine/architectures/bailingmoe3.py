"""`bailingmoe3`: Ling 3.0, Ring 3.0.

As `kimi-linear`, but the decay of Kimi Delta Attention has a lower bound, its gates have one matrix each, and
latent attention has RoPE on a part of each head and a gate per head.  The activations of feed-forward layers
may be clamped.

Sources: Ling Team 2026, "Ling 3.0"; Kimi Team 2025 (arXiv:2510.26692); llama.cpp
`src/models/bailingmoe3.cpp`.
"""

from ...errors import GGUFUnsupportedError
from ...kernels.choices import Pairing
from ..config.keys import EXPERTS, ROPE_SECTIONS, SWIGLU_LIMITS, Key
from . import kimi_linear
from .deepseek2 import latent_attention
from .kimi_linear import INERT_TENSORS, RECURRENT_INERT, bounded_decay, delta_attention
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = (
    kimi_linear.KEYS
    | EXPERTS
    | ROPE_SECTIONS
    | SWIGLU_LIMITS
    | {
        "kda.safe_gate": Key("kda.gate_is_bounded", "boolean", default=True),
        "kda.gate_lower_bound": Key("kda.gate_bound", "float", -1e9, -1e-9),
    }
)

LOW_RANK = tuple(f"blk.N.ssm_{name}.weight" for name in ("f_a", "f_b", "g_a", "g_b"))

TENSORS: tensors.Table = {
    **{name: kimi_linear.TENSORS[name] for name in kimi_linear.TENSORS if name not in LOW_RANK},
    "blk.N.ssm_f_a.weight": required("kda.d_inner", "n_embd", when="is_recurrent"),
    "blk.N.ssm_g_a.weight": required("kda.d_inner", "n_embd", when="is_recurrent"),
    "blk.N.attn_gate.weight": required("n_heads", "n_embd", when="has_attention"),
}


def build(g: Graph, model: Config) -> None:
    if not model.kda.gate_is_bounded:
        raise GGUFUnsupportedError("kda.safe_gate is false; 'bailingmoe3' is only known with bounded decays")
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    pairing: Pairing = "neox" if any(model.rope.sections) else "norm"
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        if c.is_recurrent:
            h = delta_attention(b, h, c, bounded_decay(b, c, rate_sign=1))
        else:
            h = latent_attention(b, h, c, rope, c.mla.key_dim**-0.5, pairing)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        of_experts = layers.limited_swiglu(b, c.moe.swiglu_limit, caps_silu=True)
        of_shared = layers.limited_swiglu(b, c.moe.swiglu_limit_shared, caps_silu=True)
        is_normalized = c.moe.weights_norm
        h = layers.experts_or_ffn(b, h, c, gating, of_experts, of_shared, is_normalized=is_normalized)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


BAILINGMOE3 = Architecture("bailingmoe3", TENSORS, build, KEYS, RECURRENT_INERT, INERT_TENSORS)
