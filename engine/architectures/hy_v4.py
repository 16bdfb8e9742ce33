"""`hy_v4`: Hunyuan 4.

Latent attention as in `deepseek2`, with attention sinks and an output gate, and an indexer as in `deepseek32`
where the file has it.  Several residual streams (hyper-connections): the output of each half of a block is
added to every stream, with a gate per stream.  Leading dense layers, then mixtures of experts with a shared
expert; the activations of the experts are clamped.

Sources: Tencent 2026, "Hunyuan 4"; Zhu et al. 2024, "Hyper-Connections" (arXiv:2409.19606); llama.cpp
`src/models/hy-v4.cpp`.
"""

from ..config.keys import SWIGLU_LIMITS, Key, optional_float
from . import deepseek32
from .deepseek2 import latent_attention
from .parts import Architecture, Config, Graph, hyper, layers, required, rope_table

KEYS = (
    deepseek32.KEYS
    | hyper.KEYS
    | {
        "attention.indexer.top_k": Key("n_index_top", "integer", 0, 2**31 - 1, default=0),
        "hyper_connection.magnitude": optional_float("hyper_magnitude", 1.0),
        "swiglu_clamp_exp": SWIGLU_LIMITS["swiglu_clamp_exp"],
    }
)

TENSORS = {
    **deepseek32.TENSORS,
    **hyper.gate_tensors("2*n_streams", 2),
    "blk.N.attn_sinks.weight": required("n_heads"),
    "blk.N.attn_gate.weight": required("n_heads*mla.value_dim", "n_embd"),
}


def build(g: Graph, model: Config) -> None:
    if model.n_index_top:
        g.limit_context(model.n_index_top)
    rope, gating = rope_table(g, model), layers.GATINGS.get(model.moe.gating, "sigmoid")
    x = g.repeat_columns("streams", g.embed("token_embd", "token_embd"), model.n_streams)
    for b, c in layers.blocks(g, model):
        h, write = read(b, x, c, "attn")
        h = b.rms_norm("attn_norm", h, "attn_norm", c.norm_eps)
        h = latent_attention(b, h, c, rope, c.mla.key_dim**-0.5, sinks="attn_sinks")
        x = b.add("resid_mid", x, b.mix_streams("attn_written", h, write, 1))

        h, write = read(b, x, c, "ffn")
        h = b.rms_norm("ffn_norm", h, "ffn_norm", c.norm_eps)
        limited = layers.limited_swiglu(b, c.moe.swiglu_limit)
        h = layers.experts_or_ffn(b, h, c, gating, limited, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, b.mix_streams("ffn_written", h, write, 1))
    layers.head(g, hyper.merge(g, x, model), model, g.rms_norm)


def read(b: Graph, x: str, c: Config, part: str) -> tuple[str, str]:
    """The input of a half of a block, and the gates by which its output is added to each stream."""
    logits = hyper.gates(b, x, c, part, f"hc_{part}")
    own = b.take_columns(f"{part}_read_gates", logits, 0, c.n_streams)
    write = b.take_columns(f"{part}_write_gates", logits, c.n_streams, c.n_streams)
    write = b.scale(
        f"{part}_write_scaled", b.activate(f"{part}_write_act", write, "sigmoid"), c.hyper_magnitude
    )
    return hyper.read(b, x, c, part, own), b.shift(f"{part}_write", write, c.hyper_eps)


HY_V4 = Architecture("hy_v4", TENSORS, build, KEYS, deepseek32.INERT, deepseek32.INDEXER_INERT_TENSORS)
