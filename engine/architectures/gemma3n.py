"""`gemma3n`: Gemma 3n, E2B and E4B (text).

As Gemma 3, with some of Gemma 4: values have a norm without weight, scores are not scaled, the last layers
read the keys and values of earlier ones, and every token has a small embedding per layer.  There are several
residual streams (AltUp): each layer predicts all streams from all, computes the first, active one, and
corrects the others by how that changed.  A low-rank layer runs in parallel with attention (LAuReL). The first
layers keep only the gates that are far above their mean.

Sources: Gemma Team 2025, "Gemma 3n"; Baykal et al. 2023, "Alternating Updates" (arXiv:2301.13310); Menghani
et al. 2024, "LAuReL" (arXiv:2411.07501); llama.cpp `src/models/gemma3n.cpp`.
"""

from dataclasses import replace

from ...errors import ModelError
from ..config.keys import Key, optional_float, sliding_pattern
from .gemma4 import attention, gated_layer_input, per_layer_inputs
from .parts import Architecture, Config, Graph, layers, required, rope_table, rope_table_swa, tensors

N_OWN_KV_LAYERS, N_SPARSE_LAYERS = 20, 10  # in both models; old files lack it
SPARSITY = 1.6448533535003662  # deviations; 5 % of a normal distribution are above

KEYS = {
    "activation_sparsity_scale": Key(
        "sparsity", "float", 0, 1e9, default=None, per_layer="any", or_zero=True, or_never=True
    ),
    "altup.num_inputs": Key("n_streams", "integer", 2, 16, default=4),
    "attention.shared_kv_layers": Key("n_shared_kv_layers", "integer", 0, 1024, default=-1),
    "attention.sliding_window": Key("sliding_window", "integer", 1, 2**31 - 1),
    "attention.sliding_window_pattern": sliding_pattern(5),
    "embedding_length_per_layer_input": Key("n_embd_per_layer", "integer", 1, 2**16, default=256),
    "feed_forward_length": Key("n_ff", "integer", 1, 2**24, per_layer="any"),
    "final_logit_softcapping": optional_float("final_soft_cap", 30.0),
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=10000.0),
}

TENSORS = {
    **tensors.HEAD,
    "per_layer_token_embd.weight": required("n_vocab", "n_layers*n_embd_per_layer"),
    "per_layer_model_proj.weight": required("n_layers*n_embd_per_layer", "n_embd"),
    "per_layer_proj_norm.weight": required("n_embd_per_layer"),
    "altup_proj.weight": required("n_streams-1", "n_embd", "n_embd"),
    "altup_unembd_proj.weight": required("n_streams-1", "n_embd", "n_embd"),
    **tensors.norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm"),
    **tensors.norms("altup_router_norm", "altup_correct_scale", "laurel_post_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.gated_ffn(),
    "blk.N.inp_gate.weight": required("n_embd_per_layer", "n_embd"),
    "blk.N.proj.weight": required("n_embd", "n_embd_per_layer"),
    "blk.N.altup_correct_coef.weight": required("n_streams", "n_streams"),
    "blk.N.altup_predict_coef.weight": required("n_streams*n_streams", "n_streams"),
    "blk.N.altup_router.weight": required("n_streams", "n_embd"),
    "blk.N.laurel_l.weight": required(64, "n_embd"),
    "blk.N.laurel_r.weight": required("n_embd", 64),
}

INERT_TENSORS = {
    f"blk.N.{name}.weight": "a layer that reads the keys and values of another has no use for its own"
    for name in ("attn_k", "attn_v", "attn_k_norm")
}


def build(g: Graph, model: Config) -> None:
    if model.n_shared_kv_layers < 0:
        model = replace(model, n_shared_kv_layers=max(0, model.n_layers - N_OWN_KV_LAYERS))
    if model.n_own_kv_layers < 2:
        raise ModelError(f"attention.shared_kv_layers leaves less than two of {model.n_layers} layers")
    ropes = {False: rope_table(g, model), True: rope_table_swa(g, model, is_stretched=False)}
    width, n_more = model.n_embd, model.n_streams - 1
    first = g.embed("token_embd", "token_embd", scale=width**0.5)
    layer_inputs = per_layer_inputs(g, first, model)
    more = g.head_linear("streams_proj", g.repeat_columns("streams_in", first, n_more), "altup_proj", n_more)
    x = g.join_columns("streams", first, g.match_length("streams_matched", more, first))
    for b, c in layers.blocks(g, model):
        predicted = predict(b, x, c)
        active = b.take_columns("active", predicted, 0, width)
        h = b.rms_norm("attn_norm", active, "attn_norm", c.norm_eps)
        laurel = low_rank(b, h, c)
        h = attention(b, h, c, ropes[c.is_sliding])
        h = b.rms_norm("post_attn_norm", h, "post_attention_norm", c.norm_eps)
        h = b.add("laurel_sum", b.add("attn_resid", h, active), laurel)
        middle = b.scale("resid_mid", h, 0.5**0.5)

        h = b.rms_norm("ffn_norm", middle, "ffn_norm", c.norm_eps)
        h = b.rms_norm("post_ffw_norm", sparse_ffn(b, h, c), "post_ffw_norm", c.norm_eps)
        h = b.add("resid_ffn", middle, h)
        x = correct(b, predicted, active, h, c)

        active = b.take_columns("active_corrected", x, 0, width)
        scaled = b.scale_columns("active_scaled", active, "altup_correct_scale.weight")
        own = b.repeat_columns("layer_input_streams", gated_layer_input(b, scaled, c, layer_inputs), n_more)
        rest = b.add("more_streams", b.take_columns("more_corrected", x, width, n_more * width), own)
        x = b.join_columns("resid_post", active, rest)
    layers.head(g, mean_of_streams(g, x, model), model, g.rms_norm)


def router(b: Graph, name: str, x: str, c: Config) -> str:
    """A number in -1 .. 1 for each stream."""
    h = b.rms_norm(f"{name}_norm", x, "altup_router_norm", c.norm_eps)
    h = b.linear(f"{name}_router", b.scale(f"{name}_in", h, 1 / c.n_embd), "altup_router")
    return b.soft_cap(f"{name}_modes", h, 1.0)


def predict(b: Graph, x: str, c: Config) -> str:
    """All streams; a weighted sum of all, with weights from the active one, is added to each."""
    active = b.take_columns("active_in", x, 0, c.n_embd)
    weights = b.linear("predict_coef", router(b, "predict", active, c), "altup_predict_coef")
    return b.add("predicted", b.mix_streams("predict_mix", x, weights, c.n_streams), x)


def correct(b: Graph, predicted: str, active: str, h: str, c: Config) -> str:
    """All streams; the change of the active one, times a weight per stream, is added to each."""
    weights = b.linear("correct_coef", router(b, "correct", h, c), "altup_correct_coef")
    gain = b.add("gain", h, b.scale("active_negative", active, -1.0))
    more = b.mix_streams("correct_mix", gain, weights, 1)
    whole = b.add("gain_streams", more, b.repeat_columns("gain_repeated", gain, c.n_streams))
    return b.add("corrected", predicted, whole)


def low_rank(b: Graph, h: str, c: Config) -> str:
    """The low-rank layer in parallel with attention (LAuReL)."""
    low = b.linear("laurel_out", b.linear("laurel_low", h, "laurel_l"), "laurel_r")
    return b.add("laurel", b.rms_norm("laurel_norm", low, "laurel_post_norm", c.norm_eps), h)


def sparse_ffn(b: Graph, h: str, c: Config) -> str:
    """A gated feed-forward layer; the first layers keep only gates that are far above their mean."""
    sparsity = c.sparsity
    if sparsity is None:
        sparsity = SPARSITY if c.layer < N_SPARSE_LAYERS else float("-inf")
    gate, up = b.linear("ffn_gate", h, "ffn_gate"), b.linear("ffn_up", h, "ffn_up")
    if sparsity != float("-inf"):
        gate = b.keep_outliers("ffn_gate_cut", gate, sparsity)
    return b.linear("ffn_out", b.gelu_mul("ffn_act", gate, up), "ffn_down")


def mean_of_streams(g: Graph, x: str, c: Config) -> str:
    """The mean of the active stream and of the others, each projected by a matrix of its own."""
    width, n_more = c.n_embd, c.n_streams - 1
    active = g.take_columns("last_active", x, 0, width)
    rest = g.head_linear(
        "unembd", g.take_columns("last_more", x, width, n_more * width), "altup_unembd_proj", n_more
    )
    rest = g.match_length("unembd_matched", rest, active)
    joined = g.join_columns("unembd_streams", active, rest)
    return g.mean_of_streams("unembd_mean", joined, c.n_streams)


GEMMA3N = Architecture("gemma3n", TENSORS, build, KEYS, inert_tensors=INERT_TENSORS)
