"""`nemotron_h`: Nemotron-H, Nemotron Nano 2; `nemotron_h_moe`: Nemotron 3 Nano, Super and Puzzle.

Each block is one thing: a Mamba-2 mixer, attention without positions, or a feed-forward layer without a gate,
with the square of ReLU, or a mixture of such layers.  Experts have sigmoid gating, a selection bias and a
shared expert.  Those of Super read and write a shorter vector; in Puzzle the width of the experts and the
number of those chosen differ by layer.

Sources: NVIDIA 2025 (arXiv:2504.03624, arXiv:2508.14444); llama.cpp `src/models/nemotron-h.cpp`.
"""

from dataclasses import replace

from ...errors import ModelError
from ..config.keys import EXPERTS, FFN_WIDTHS, HEAD_COUNTS, SCALES, SSM, Key
from .mamba2 import mixer, mixer_tensors
from .parts import Architecture, Config, Graph, layers, optional, required, tensors

MOE_INERT = {
    "attention.recurrent_layers": "follows from attention.head_count_kv and feed_forward_length",
}

INERT = MOE_INERT | {"moe_latent_size": "of experts, which the model does not have"}

KEYS = (
    SSM
    | HEAD_COUNTS
    | FFN_WIDTHS
    | {
        "attention.scale": SCALES["attention.scale"],
        "attention.layer_norm_epsilon": Key("norm_eps", "float", 0, 1, default=0.0, or_zero=True),
        "attention.layer_norm_rms_epsilon": Key("rms_norm_eps", "float", 0, 1, default=0.0, or_zero=True),
    }
)

MOE_KEYS = (
    KEYS
    | EXPERTS
    | {
        "moe_latent_size": Key("moe.n_latent", "integer", 0, 2**20, default=0),
        "expert_used_count": Key("moe.n_used", "integer", 0, 2**16, default=0, per_layer="any"),
        "expert_feed_forward_length": Key("moe.n_ff", "integer", 0, 2**24, default=0, per_layer="any"),
    }
)

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm"),
    **tensors.attention(when="is_attention_block"),
    **mixer_tensors(when="is_ssm_block"),
    **tensors.ffn(when="n_ff"),
}

MOE_TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm"),
    **tensors.attention(when="is_attention_block"),
    **mixer_tensors(when="is_ssm_block"),
    **tensors.ffn(when="is_dense_block"),
    **tensors.ungated_experts(when="is_expert_block", width="expert_width"),
    "blk.N.exp_probs_b.bias": optional("moe.n_experts", when="is_expert_block"),
    "blk.N.ffn_latent_down.weight": required("expert_width", "n_embd", when="has_latent_experts"),
    "blk.N.ffn_latent_up.weight": required("n_embd", "expert_width", when="has_latent_experts"),
    "blk.N.ffn_up_shexp.weight": required("moe.n_ff_shared", "n_embd", when="is_expert_block"),
    "blk.N.ffn_down_shexp.weight": required("n_embd", "moe.n_ff_shared", when="is_expert_block"),
}


def build(g: Graph, model: Config) -> None:
    model = replace(model, norm_eps=model.rms_norm_eps or model.norm_eps)
    if not model.norm_eps:
        raise ModelError(
            f"{g.weight('token_embd').path}: the metadata lacks {model.architecture}."
            "attention.layer_norm_rms_epsilon, which the model needs"
        )
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        if c.is_ssm_block:
            h = mixer(b, h, c)
        elif c.is_attention_block:
            h = layers.attention(b, h, c)
        else:
            h = experts(b, h, c) if c.moe.n_experts else layers.ffn(b, h, "relu2")
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def experts(b: Graph, h: str, c: Config) -> str:
    """A mixture of experts without gates, in Super on a shorter vector, and a shared expert."""
    ids, weights = layers.route(b, h, c, "sigmoid", is_normalized=c.moe.weights_norm)
    latent = b.linear("moe_in", h, "ffn_latent_down") if c.has_latent_experts else h
    routed = layers.ungated_experts(b, latent, ids, weights, "relu2", out="moe_out")
    if c.has_latent_experts:
        routed = b.linear("moe_up", routed, "ffn_latent_up")
    shared = b.linear("shexp_up", h, "ffn_up_shexp")
    shared = b.activate("shexp_act", shared, "relu2")
    return b.add("ffn_out", routed, b.linear("shexp_out", shared, "ffn_down_shexp"))


NEMOTRON_H = Architecture("nemotron_h", TENSORS, build, KEYS, INERT)
NEMOTRON_H_MOE = Architecture("nemotron_h_moe", MOE_TENSORS, build, MOE_KEYS, MOE_INERT)
