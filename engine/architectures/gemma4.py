"""`gemma4`: Gemma 4, E2B and E4B, dense, and 26B-A4B (text).

As Gemma 3, with these differences.  Global layers have heads of another size and number, and RoPE divisors.
Values have a norm without weight; where the file has no matrix for them, they are the keys before norm and
RoPE. Scores are not scaled.  The last layers may read the keys and values of the last layer of their kind
that has its own.  Every token has a small embedding per layer, from a table and from the embedding; it gates
a narrow layer at the end of the block.  A mixture of experts may run in parallel with the feed-forward layer;
its router reads the residual stream, and each expert has a scale.

Sources: Gemma Team 2026, "Gemma 4"; llama.cpp `src/models/gemma4.cpp`.
"""

from ..config.keys import EXPERTS, Key, optional_float
from .parts import (
    Architecture,
    Config,
    Graph,
    layers,
    optional,
    required,
    rope_table,
    rope_table_swa,
    tensors,
)

KEYS = {
    "attention.head_count": Key("n_heads", "integer", 1, 2**16, per_layer="any"),
    "attention.head_count_kv": Key("n_kv_heads", "integer", 1, 2**16, default=None, per_layer="any"),
    "attention.key_length_swa": Key("head_dim_swa", "integer", 1, 2**16),
    "attention.value_length_swa": Key("value_dim_swa", "integer", 1, 2**16),
    "attention.shared_kv_layers": Key("n_shared_kv_layers", "integer", 0, 1024, default=0),
    "attention.sliding_window": Key("sliding_window", "integer", 1, 2**31 - 1),
    "attention.sliding_window_pattern": Key("sliding_pattern", "integer", 0, 1024, per_layer="any"),
    "embedding_length_per_layer_input": Key("n_embd_per_layer", "integer", 0, 2**16),
    "feed_forward_length": Key("n_ff", "integer", 1, 2**24, per_layer="any"),
    "final_logit_softcapping": optional_float("final_soft_cap", 30.0),
    "rope.dimension_count_swa": Key("rope.n_rot_swa", "integer", 2, 2**16, default=None),
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=10000.0),
    **{
        name: EXPERTS[name]
        for name in (
            "expert_count",
            "expert_used_count",
            "expert_feed_forward_length",
            "expert_group_count",
            "expert_group_used_count",
        )
    },
}

TENSORS = {
    **tensors.HEAD,
    "rope_freqs.weight": required("head_dim/2"),
    "per_layer_token_embd.weight": optional("n_vocab", "n_layers*n_embd_per_layer"),
    "per_layer_model_proj.weight": optional("n_layers*n_embd_per_layer", "n_embd"),
    "per_layer_proj_norm.weight": optional("n_embd_per_layer"),
    **tensors.norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
    **tensors.attention(),
    "blk.N.attn_k.weight": required("kv_width", "n_embd", when="has_own_kv", unless="attn_qkv.weight"),
    "blk.N.attn_v.weight": optional("v_width", "n_embd", when="has_own_kv"),
    "blk.N.attn_q_norm.weight": required("head_dim"),
    "blk.N.attn_k_norm.weight": required("head_dim", when="has_own_kv"),
    **tensors.gated_ffn(),
    "blk.N.layer_output_scale.weight": optional(1),
    "blk.N.inp_gate.weight": required("n_embd_per_layer", "n_embd", when="n_embd_per_layer"),
    "blk.N.proj.weight": required("n_embd", "n_embd_per_layer", when="n_embd_per_layer"),
    **tensors.norms("post_norm", when="n_embd_per_layer"),
    **tensors.norms("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2", when="has_experts"),
    **tensors.experts(),
    "blk.N.ffn_gate_inp.scale": required("n_embd", when="has_experts"),
}

_SHARED = "a layer that reads the keys and values of another has no use for its own"

INERT_TENSORS = {f"blk.N.{name}.weight": _SHARED for name in ("attn_k", "attn_v", "attn_k_norm")}


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd", scale=model.n_embd**0.5)
    layer_inputs = per_layer_inputs(g, x, model) if model.n_embd_per_layer else ""
    for b, c in layers.blocks(g, model):
        if c.is_sliding:
            rope = rope_table_swa(g, c, is_stretched=False, has_factors=False)
        else:
            rope = rope_table(g, c)
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = attention(b, h, c, rope)
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.gated_ffn(b, h, c, "gelu")
        if c.has_experts:
            h = b.rms_norm("ffn_out_norm", h, "post_ffw_norm_1", c.norm_eps)
            h = b.add("ffn_sum", h, mixture(b, x, c))
        h = b.rms_norm("post_ffw_norm", h, "post_ffw_norm", c.norm_eps)
        factor = b.number("layer_output_scale.weight") if b.has("layer_output_scale") else 1.0
        last = "resid_post" if factor == 1 else "resid_unscaled"
        x = b.add("resid_ffn" if layer_inputs else last, x, h)
        if layer_inputs:
            x = b.add(last, x, gated_layer_input(b, x, c, layer_inputs))
        x = b.scale("resid_post", x, factor)
    layers.head(g, x, model, g.rms_norm)


def per_layer_inputs(g: Graph, x: str, c: Config) -> str:
    """The embeddings of each token for all layers, side by side."""
    own = g.embed("per_layer_token_embd", "per_layer_token_embd", scale=c.n_embd_per_layer**0.5)
    h = g.linear("per_layer_proj", x, "per_layer_model_proj")
    h = g.scale("per_layer_proj_scaled", h, c.n_embd**-0.5)
    h = g.rms_norm("per_layer_proj_norm", h, "per_layer_proj_norm", c.norm_eps)
    return g.scale("per_layer_inputs", g.add("per_layer_sum", h, own), 0.5**0.5)


def gated_layer_input(b: Graph, x: str, c: Config, layer_inputs: str) -> str:
    """The embedding of each token for this layer, gated by the residual stream."""
    width = c.n_embd_per_layer
    own = b.take_columns("layer_input", layer_inputs, c.layer * width, width)
    h = b.gelu_mul("layer_input_act", b.linear("layer_input_gate", x, "inp_gate"), own)
    h = b.linear("layer_input_out", h, "proj")
    return b.rms_norm("layer_input_norm", h, "post_norm", c.norm_eps)


def attention(b: Graph, h: str, c: Config, rope: str) -> str:
    """Attention to keys and values of its own, or to those of an earlier layer of the same kind."""
    rows = [(0, c.q_width), (c.q_width, c.q_width + c.kv_width), (c.q_width + c.kv_width, c.qkv_width)]
    is_fused = b.has("attn_qkv")

    def part(i: int, name: str, weight: str) -> str:
        return b.linear(name, h, "attn_qkv", rows[i]) if is_fused else b.linear(name, h, weight)

    q = b.rms_norm("q_norm", part(0, "q", "attn_q"), "attn_q_norm", c.norm_eps)
    q = b.rope("q_rope", q, c.head_dim, "neox", rope)
    if not c.has_own_kv:
        return b.linear(
            "attn_out", b.shared_attention("attn_heads", q, layers.owner_of_shared(c)), "attn_output"
        )
    k = part(1, "k", "attn_k")
    v = part(2, "v", "attn_v") if is_fused or b.has("attn_v") else k
    k = b.rms_norm("k_norm", k, "attn_k_norm", c.norm_eps)
    v = b.plain_rms_norm("v_norm", v, c.norm_eps, c.n_kv_heads)
    k = b.rope("k_rope", k, c.head_dim, "neox", rope)
    h = b.attention("attn_heads", q, k, v, c.head_dim, 1.0, c.window)
    return b.linear("attn_out", h, "attn_output")


def mixture(b: Graph, x: str, c: Config) -> str:
    """The mixture of experts; router and experts read the residual stream through a norm each."""
    h = b.plain_rms_norm("router_norm", x, c.norm_eps)
    h = b.scale("router_in", b.scale_columns("router_scaled", h, "ffn_gate_inp.scale"), c.n_embd**-0.5)
    moe = b.rms_norm("moe_norm", x, "pre_ffw_norm_2", c.norm_eps)
    moe = layers.experts(
        b, moe, c, "softmax", is_normalized=True, activation=b.gelu_mul, router_input=h, out="moe_out"
    )
    return b.rms_norm("moe_out_norm", moe, "post_ffw_norm_2", c.norm_eps)


GEMMA4 = Architecture("gemma4", TENSORS, build, KEYS, inert_tensors=INERT_TENSORS)
