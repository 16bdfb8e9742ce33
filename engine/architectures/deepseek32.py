"""`deepseek32`: DeepSeek V3.2; `glm-dsa`: GLM-5; `dots3note`: dots 3 Note.

The graph of `deepseek2`, with an indexer that chooses the `attention.indexer.top_k` positions that each token
attends to.  In contexts that are no longer it chooses all; nybble refuses longer contexts.  dots has layers
with a sliding window, which have latent vectors and heads of another size and no indexer, a norm of the
rotated key, and a gate per head.

Sources: DeepSeek-AI 2025, "DeepSeek-V3.2" (arXiv:2512.02556); Z.ai 2026, "GLM-5"; llama.cpp
`src/models/deepseek32.cpp`, `glm-dsa.cpp`, `dots3note.cpp`.
"""

from ..config.keys import HEADS_BY_LAYER, REQUIRED, SLIDING_WINDOW, Key, sliding_pattern
from . import deepseek2
from .deepseek2 import latent_attention
from .parts import Architecture, Config, Graph, layers, required, rope_table, rope_table_swa

INDEXER_KEYS = {"attention.indexer.top_k": Key("n_index_top", "integer", 1, 2**31 - 1)}

_CHOOSES = "says how positions are chosen, of which there are no more than are chosen"

INDEXER_INERT = {"attention.layer_norm_epsilon": _CHOOSES} | {
    f"attention.indexer.{name}": _CHOOSES for name in ("head_count", "key_length", "types")
}

INDEXER_INERT_TENSORS = {
    f"blk.N.indexer.{name}": _CHOOSES
    for name in ("k_norm.weight", "k_norm.bias", "proj.weight", "attn_k.weight", "attn_q_b.weight")
}

INERT = INDEXER_INERT | {"rope.dimension_sections": "llama.cpp rotates all pairs by the position"}

KEYS = deepseek2.KEYS | INDEXER_KEYS

WINDOW = {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(REQUIRED),
    "attention.kv_lora_rank_swa": Key("mla.kv_lora_rank_swa", "integer", 1, 2**16),
    "attention.key_length_mla_swa": Key("mla.key_dim_swa", "integer", 1, 2**16),
    "attention.value_length_mla_swa": Key("mla.value_dim_swa", "integer", 1, 2**16),
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15),
}

DOTS_KEYS = KEYS | HEADS_BY_LAYER | WINDOW

DOTS_INERT = INERT | {
    "attention.key_length_swa": "follows from attention.kv_lora_rank_swa",
    "attention.value_length_swa": "follows from attention.kv_lora_rank_swa",
    "rope.dimension_count_swa": "all layers rotate rope.dimension_count values",
}

TENSORS = {name: shape for name, shape in deepseek2.TENSORS.items() if name != "blk.N.attn_q.weight"}

DOTS_TENSORS = {
    **TENSORS,
    "blk.N.attn_k_norm.weight": required("rope.n_rot"),
    "blk.N.attn_gate.weight": required("n_heads", "n_embd"),
}


def build(g: Graph, model: Config) -> None:
    g.limit_context(model.n_index_top)
    deepseek2.build(g, model, default_gating="sigmoid")


def build_dots(g: Graph, model: Config) -> None:
    g.limit_context(model.n_index_top)
    gating = layers.GATINGS.get(model.moe.gating, "sigmoid")
    table, table_swa = rope_table(g, model), rope_table_swa(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table_swa if c.is_sliding else table
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = latent_attention(b, h, c, rope, c.mla.key_dim**-0.5, window=c.window)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, gating, is_normalized=c.moe.weights_norm)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


DEEPSEEK32 = Architecture("deepseek32", TENSORS, build, KEYS, INERT, INDEXER_INERT_TENSORS)
GLM_DSA = Architecture("glm-dsa", TENSORS, build, KEYS, INERT, INDEXER_INERT_TENSORS)
DOTS3NOTE = Architecture("dots3note", DOTS_TENSORS, build_dots, DOTS_KEYS, DOTS_INERT, INDEXER_INERT_TENSORS)
