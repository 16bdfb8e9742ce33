"""`deepseek2`: DeepSeek V2, V3 and R1, Kimi K2, GLM-4.7-Flash; `mistral4`: Mistral Large 3, Mistral Small 4.

Multi-head latent attention.  Keys and values of all heads are projections of one short latent vector per
token; the cache holds only that vector and one rotated key.  Each head's key matrix is applied to its query
instead, so that all heads attend to the same vectors, and each head's value matrix is applied to its output.
Old files have both matrices in one; then keys and values of all heads are computed and cached.  Leading dense
layers, then mixtures of experts with shared experts; experts may be chosen by groups.

Sources: DeepSeek-AI 2024 (arXiv:2405.04434, arXiv:2412.19437); llama.cpp `src/models/deepseek2.cpp`.
"""

import math
from dataclasses import replace

from ...kernels.choices import Gating, Pairing
from ..config.keys import EXPERTS, Key, optional_float
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

KEYS = EXPERTS | {
    "attention.q_lora_rank": Key("mla.q_lora_rank", "integer", 0, 2**16, default=0),
    "attention.kv_lora_rank": Key("mla.kv_lora_rank", "integer", 1, 2**16),
    "attention.key_length_mla": Key("mla.key_dim", "integer", 1, 2**16, default=0),
    "attention.value_length_mla": Key("mla.value_dim", "integer", 1, 2**16, default=0),
    "attention.temperature_scale": optional_float("temperature_scale", 0.0),
    "attention.temperature_length": Key("temperature_step", "integer", 0, 2**32 - 1, default=0),
    "rope.scaling.yarn_log_multiplier": optional_float("rope.yarn_log_mul", 0.0),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    "blk.N.attn_q.weight": optional("n_heads*mla.key_dim", "n_embd"),
    "blk.N.attn_q_a.weight": required("mla.q_lora_rank", "n_embd", unless="attn_q.weight"),
    "blk.N.attn_q_a_norm.weight": required("mla.q_lora_rank", unless="attn_q.weight"),
    "blk.N.attn_q_b.weight": required("n_heads*mla.key_dim", "mla.q_lora_rank", unless="attn_q.weight"),
    "blk.N.attn_kv_a_mqa.weight": required("mla_kv_width", "n_embd"),
    "blk.N.attn_kv_a_norm.weight": required("mla.kv_lora_rank"),
    "blk.N.attn_k_b.weight": required(
        "n_heads", "mla.kv_lora_rank", "mla_plain_dim", when="mla.has_split_kv"
    ),
    "blk.N.attn_v_b.weight": required(
        "n_heads", "mla.value_dim", "mla.kv_lora_rank", when="mla.has_split_kv"
    ),
    "blk.N.attn_kv_b.weight": required(
        "n_heads*mla_plain_dim+n_heads*mla.value_dim", "mla.kv_lora_rank", when="mla.has_joint_kv"
    ),
    "blk.N.attn_output.weight": required("n_embd", "n_heads*mla.value_dim"),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}

N_VOCAB_OF_GLM, N_LAYERS_OF_GLM = 154880, (47, 48)


def build(g: Graph, model: Config, default_gating: Gating = "softmax") -> None:
    """`default_gating` is for files that do not say how experts are chosen."""
    rope, scale = rope_and_scale(g, model)
    is_glm = model.n_vocab == N_VOCAB_OF_GLM and model.n_layers in N_LAYERS_OF_GLM
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid" if is_glm else default_gating)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, latent_attention(b, h, c, rope, scale))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


def rope_and_scale(g: Graph, model: Config) -> tuple[str, float]:
    """The RoPE table, and the scale of attention scores: YaRN's factor is in both."""
    # Converters divide the multiplier by ten, and what it adds to cosine and sine is part of the scale here.
    log_mul = model.rope.yarn_log_mul * 10
    rope = rope_table(g, replace(model, rope=replace(model.rope, yarn_log_mul=1.0 if log_mul else 0.0)))
    growth = 0.1 * math.log(model.rope.scale)
    net = 1.0 if log_mul or model.rope.scaling != "yarn" or model.rope.scale <= 1 else 1 + growth
    return rope, (model.rope.attn_factor * net * (1 + log_mul * growth)) ** 2 * model.mla.key_dim**-0.5


def latent_attention(
    b: Graph,
    h: str,
    c: Config,
    rope: str,
    scale: float,
    pairing: Pairing = "norm",
    *,
    window: int = 0,
    sinks: str = "",
) -> str:
    """Multi-head latent attention: all heads attend to one latent vector and one rotated key per token.

    Where one matrix makes keys and values of the latent vector, heads attend to those.  Without a table
    `rope` nothing is rotated.  A gate of the output and a norm of the rotated key are applied if the file
    has them.
    """
    x = h
    if b.has("attn_q"):
        q = b.linear("q", h, "attn_q")
    else:
        q = b.linear("q_latent", h, "attn_q_a")
        q = b.rms_norm("q_latent_norm", q, "attn_q_a_norm", c.norm_eps)
        q = b.linear("q", q, "attn_q_b")
    has_plain = c.mla_plain_dim > 0
    q_plain = b.take_columns("q_plain", q, 0, c.mla_plain_dim, c.n_heads) if has_plain else ""
    q_turned = b.take_columns("q_turned", q, c.mla_plain_dim, c.rope.n_rot, c.n_heads)
    q_turned = b.rope("q_rope", q_turned, c.rope.n_rot, pairing, rope) if rope else q_turned
    if c.mla.has_split_kv:
        q_plain = b.head_linear("q_absorbed", q_plain, "attn_k_b", c.n_heads)
    q = b.join_columns("q_joined", q_plain, q_turned, c.n_heads) if has_plain else q_turned

    latent = b.linear("kv_latent", h, "attn_kv_a_mqa", (0, c.mla.kv_lora_rank))
    latent = b.rms_norm("kv_latent_norm", latent, "attn_kv_a_norm", c.norm_eps)
    k_turned = b.linear("k_turned", h, "attn_kv_a_mqa", (c.mla.kv_lora_rank, c.mla_kv_width))
    if b.has("attn_k_norm"):
        k_turned = b.rms_norm("k_norm", k_turned, "attn_k_norm", c.norm_eps)
    k_turned = b.rope("k_rope", k_turned, c.rope.n_rot, pairing, rope) if rope else k_turned
    if c.temperature_scale:
        q = b.query_scale("q_scaled", q, c.temperature_scale, c.temperature_step or c.rope.n_ctx_original)
    if c.mla.has_split_kv:
        k = b.join_columns("k_joined", latent, k_turned)
        h = b.attention("attn_latent", q, k, latent, c.mla_kv_width, scale, window, sinks=sinks)
        h = b.head_linear("attn_heads", h, "attn_v_b", c.n_heads)
    else:
        both = b.linear("kv", latent, "attn_kv_b")
        k_plain = b.take_columns("k_plain", both, 0, c.mla_plain_dim, c.n_heads) if has_plain else ""
        v = b.take_columns("v", both, c.mla_plain_dim, c.mla.value_dim, c.n_heads)
        k = b.repeat_columns("k_repeated", k_turned, c.n_heads)
        k = b.join_columns("k_joined", k_plain, k, c.n_heads) if has_plain else k
        h = b.attention("attn_heads", q, k, v, c.mla.key_dim, scale, window, sinks=sinks)
    if b.has("attn_gate"):
        h = b.mul("attn_gated", h, b.activate("gate_act", b.linear("gate", x, "attn_gate"), "sigmoid"))
    return b.linear("attn_out", h, "attn_output")


DEEPSEEK2 = Architecture("deepseek2", TENSORS, build, KEYS)
MISTRAL4 = Architecture("mistral4", TENSORS, build, KEYS)
