"""Parts of a graph that many architectures have: attention, feed-forward layers, the head."""

from collections.abc import Callable, Iterator

from ....kernels.choices import Activation, Gating, Pairing
from ...config.config import Config
from ...plan.graph.graph import Graph

Norm = Callable[[str, str, str, float], str]  # Graph.rms_norm and the like
Gated = Callable[[str, str, str], str]  # Graph.silu_mul and the like
Mixer = Callable[[Graph, str, Config], str]  # in place of attention in a block

GATINGS: dict[int, Gating] = {1: "softmax", 2: "sigmoid", 3: "softmax of chosen", 4: "sqrt softplus"}


def blocks(g: Graph, c: Config) -> Iterator[tuple[Graph, Config]]:
    """Every block of the graph, with the config of its layer."""
    for layer in range(c.n_layers):
        yield g.block(layer), c.at(layer)


def qkv(b: Graph, h: str, c: Config, has_bias: bool = True) -> tuple[str, str, str]:
    """Queries, keys and values of h, from one matrix each or one for all, clamped if the config says so."""
    if b.has("attn_qkv"):
        k_start, v_start = c.q_width, c.q_width + c.kv_width
        q = b.linear("q", h, "attn_qkv", (0, k_start), has_bias)
        k = b.linear("k", h, "attn_qkv", (k_start, v_start), has_bias)
        v = b.linear("v", h, "attn_qkv", (v_start, c.qkv_width), has_bias)
    else:
        q = b.linear("q", h, "attn_q", has_bias=has_bias)
        k = b.linear("k", h, "attn_k", has_bias=has_bias)
        v = b.linear("v", h, "attn_v", has_bias=has_bias)
    limit = c.clamp_qkv
    return b.clamp("q_clamp", q, limit), b.clamp("k_clamp", k, limit), b.clamp("v_clamp", v, limit)


def attention(
    b: Graph,
    h: str,
    c: Config,
    rope: str = "",
    pairing: Pairing = "neox",
    *,
    window: int = 0,
    scale: float = 0.0,
    layer_norms: bool = False,
    sinks: str = "",
    gate: Activation = "sigmoid",
    qkv_bias: bool = True,
    output_bias: bool = True,
    sub_norm: str = "",
    norms_after_rope: bool = False,
    is_causal: bool = True,
) -> str:
    """Self-attention of h, with norms of q and k and an output gate if the file has them.

    `rope`: the name of a RoPE table, or none.  `scale` replaces that of the metadata, which replaces
    1 / sqrt(head_dim).  `sub_norm`: the weight of a norm before the output matrix.  `gate`: the activation of
    the gate, which is per head or per value.
    """
    norm, x = b.layer_norm if layer_norms else b.rms_norm, h
    q, k, v = qkv(b, h, c, qkv_bias)
    if b.has("attn_q_norm") and not norms_after_rope:
        q = norm("q_norm", q, "attn_q_norm", c.norm_eps)
        k = norm("k_norm", k, "attn_k_norm", c.norm_eps)
    if rope:
        q = b.rope("q_rope", q, c.head_dim, pairing, rope)
        k = b.rope("k_rope", k, c.head_dim, pairing, rope)
    if b.has("attn_q_norm") and norms_after_rope:
        q = norm("q_norm", q, "attn_q_norm", c.norm_eps)
        k = norm("k_norm", k, "attn_k_norm", c.norm_eps)
    if c.temperature_scale:
        q = b.query_scale("q_scaled", q, c.temperature_scale, c.temperature_step or c.rope.n_ctx_original)
    h = b.attention(
        "attn_heads",
        q,
        k,
        v,
        c.head_dim,
        scale or c.attention_scale or c.head_dim**-0.5,
        window,
        soft_cap=c.attn_soft_cap,
        alibi_bias=c.alibi_bias,
        sinks=sinks,
        is_causal=is_causal,
    )
    if b.has("attn_gate"):
        h = b.mul("attn_gated", h, b.activate("gate_act", b.linear("gate", x, "attn_gate"), gate))
    if sub_norm:
        h = b.rms_norm("attn_sub_norm", h, sub_norm, c.norm_eps)
    return b.linear("attn_out", h, "attn_output", has_bias=output_bias)


def limited_swiglu(b: Graph, limit: float, caps_silu: bool = False) -> Gated:
    """silu(gate) * up, with |up| at most limit, and the gate, or its silu, at most limit too; 0: no limit."""
    if not limit:
        return b.silu_mul

    def limited(out: str, gate: str, up: str) -> str:
        part = out.removesuffix("_act")
        up = b.clamp(f"{part}_up_clamp", up, limit)
        if not caps_silu:
            return b.silu_mul(out, b.cap(f"{part}_gate_cap", gate, limit), up)
        return b.mul(out, b.cap(f"{part}_gate_cap", b.activate(f"{part}_silu", gate, "silu"), limit), up)

    return limited


def owner_of_shared(c: Config) -> str:
    """The attention buffer whose keys and values a layer reads that has none of its own.

    Of the last two layers that have their own, the first has a sliding window, and the second has none.
    """
    return f"blk.{c.n_own_kv_layers - (2 if c.is_sliding else 1)}.attn_heads"


def ffn(b: Graph, h: str, function: Activation) -> str:
    """A feed-forward layer without a gate."""
    h = b.linear("ffn_up", h, "ffn_up")
    h = b.activate("ffn_act", h, function)
    if b.has_tensor("ffn.act.scales"):
        h = b.scale_columns("ffn_scaled", h, "ffn.act.scales", divides=True)
    return b.linear("ffn_out", h, "ffn_down")


def gated_ffn(
    b: Graph,
    h: str,
    c: Config,
    function: Activation = "silu",
    *,
    activation: Gated | None = None,
    sub_norm: str = "",
    has_bias: bool = True,
) -> str:
    """A feed-forward layer with a gate; gate and up may be one matrix, gate first.

    `activation` replaces `function` and the product.  `sub_norm`: the weight of a norm before `ffn_down`.
    """
    if b.has("ffn_gate"):
        gate = b.linear("ffn_gate", h, "ffn_gate", has_bias=has_bias)
        up = b.linear("ffn_up", h, "ffn_up", has_bias=has_bias)
    else:
        gate = b.linear("ffn_gate", h, "ffn_up", (0, c.n_ff))
        up = b.linear("ffn_up", h, "ffn_up", (c.n_ff, 2 * c.n_ff))
    h = (activation or (b.gelu_mul if function == "gelu" else b.silu_mul))("ffn_act", gate, up)
    if sub_norm:
        h = b.rms_norm("ffn_sub_norm", h, sub_norm, c.norm_eps)
    return b.linear("ffn_out", h, "ffn_down", has_bias=has_bias)


def experts(
    b: Graph,
    h: str,
    c: Config,
    gating: Gating,
    *,
    is_normalized: bool,
    activation: Gated | None = None,
    shared_activation: Gated | None = None,
    router_input: str = "",
    weighs_input: bool = False,
    out: str = "ffn_out",
) -> str:
    """A mixture of experts, with a shared expert if the file has one; activations replace silu_mul.

    `router_input`: the input of the router, if not h.  `weighs_input`: the weight of an expert multiplies its
    input: the gate before the activation, and `up` by way of the output, which is linear in it.
    """
    ids, weights = route(b, router_input or h, c, gating, is_normalized=is_normalized)
    if not b.has("ffn_up_shexp"):
        return gated_experts(b, h, c, ids, weights, activation, weighs_input=weighs_input, out=out)
    routed = gated_experts(b, h, c, ids, weights, activation, weighs_input=weighs_input)
    return b.add(out, routed, shared_expert(b, h, c, shared_activation))


def experts_or_ffn(
    b: Graph,
    h: str,
    c: Config,
    gating: Gating,
    activation: Gated | None = None,
    shared_activation: Gated | None = None,
    *,
    is_normalized: bool,
) -> str:
    """A mixture of experts in blocks that have a router, in others a feed-forward layer with a gate.

    `shared_activation` is that of the shared expert and of the feed-forward layer.
    """
    if not b.has("ffn_gate_inp"):
        return gated_ffn(b, h, c, activation=shared_activation)
    return experts(
        b,
        h,
        c,
        gating,
        is_normalized=is_normalized,
        activation=activation,
        shared_activation=shared_activation,
    )


def gated_experts(
    b: Graph,
    h: str,
    c: Config,
    ids: str,
    weights: str,
    activation: Gated | None = None,
    *,
    weighs_input: bool = False,
    out: str = "moe_out",
) -> str:
    """The weighted sum of experts with gates; `ids` and `weights` come from `route`."""
    if b.has("ffn_gate_up_exps"):
        both = b.expert_linear("exps_gate_up", h, ids, "ffn_gate_up_exps")
        gate = b.take_columns("exps_gate", both, 0, c.moe.n_ff, c.moe.n_used)
        up = b.take_columns("exps_up", both, c.moe.n_ff, c.moe.n_ff, c.moe.n_used)
    else:
        gate = b.expert_linear("exps_gate", h, ids, "ffn_gate_exps")
        up = b.expert_linear("exps_up", h, ids, "ffn_up_exps")
    if weighs_input:
        gate = b.mul("exps_gate_weighted", gate, weights)
    h = (activation or b.silu_mul)("exps_act", gate, up)
    return b.expert_sum(out, b.expert_linear("exps_down", h, ids, "ffn_down_exps"), weights)


def shared_expert(b: Graph, h: str, c: Config, activation: Gated | None = None) -> str:
    """The expert that all tokens go to, with a sigmoid gate if the file has one."""
    if b.has("ffn_gate_shexp"):
        gate, up = b.linear("shexp_gate", h, "ffn_gate_shexp"), b.linear("shexp_up", h, "ffn_up_shexp")
    else:
        gate = b.linear("shexp_gate", h, "ffn_up_shexp", (0, c.moe.n_ff_shared))
        up = b.linear("shexp_up", h, "ffn_up_shexp", (c.moe.n_ff_shared, 2 * c.moe.n_ff_shared))
    shared = (activation or b.silu_mul)("shexp_act", gate, up)
    shared = b.linear("shexp_out", shared, "ffn_down_shexp")
    if not b.has("ffn_gate_inp_shexp"):
        return shared
    share = b.activate("shexp_share", b.linear("shexp_router", h, "ffn_gate_inp_shexp"), "sigmoid")
    return b.mul("shexp_gated", shared, share)


def ungated_experts(
    b: Graph, h: str, ids: str, weights: str, function: Activation, out: str = "ffn_out"
) -> str:
    """The weighted sum of experts without gates; `ids` and `weights` come from `route`."""
    h = b.activate("exps_act", b.expert_linear("exps_up", h, ids, "ffn_up_exps"), function)
    return b.expert_sum(out, b.expert_linear("exps_down", h, ids, "ffn_down_exps"), weights)


def route(b: Graph, h: str, c: Config, gating: Gating, *, is_normalized: bool) -> tuple[str, str]:
    """The buffers of the experts that each row of h goes to, and of their weights."""
    return b.route(
        "expert_ids",
        "expert_weights",
        b.linear("router", h, "ffn_gate_inp"),
        c.moe.n_used,
        gating,
        is_normalized=is_normalized,
        scale=c.moe.weights_scale or 1.0,
        n_groups=c.moe.n_groups or 1,
        n_groups_used=c.moe.n_groups_used or 1,
    )


def encoder_end(g: Graph, x: str, c: Config, norm: Norm, norm_weight: str = "output_norm") -> None:
    """The last norm of an encoder, whose output is the embeddings of the tokens."""
    g.embeddings(norm("output_norm", x, norm_weight, c.norm_eps))


def head(
    g: Graph,
    x: str,
    c: Config,
    norm: Norm,
    scale: float = 1.0,
    norm_weight: str = "output_norm",
    has_bias: bool = True,
) -> None:
    """The last norm and the logits, which may be scaled and capped; the head may be the embedding."""
    g.select_rows(x)
    x = norm("output_norm", x, norm_weight, c.norm_eps)
    is_last = scale == 1 and c.final_soft_cap == 0
    weight = "output" if g.has("output") else "token_embd"
    x = g.linear("logits" if is_last else "logits_raw", x, weight, has_bias=has_bias)
    if scale != 1:
        x = g.scale("logits_scaled" if c.final_soft_cap else "logits", x, scale)
    g.soft_cap("logits", x, c.final_soft_cap)
