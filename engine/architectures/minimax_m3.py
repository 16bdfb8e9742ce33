"""`minimax-m3`: MiniMax M3.

Grouped-query attention with a norm on every head of queries and keys, and RoPE on a part of each.  An indexer
chooses the `attention.indexer.top_k` blocks of positions that each token attends to.  In contexts that are no
longer it chooses all; nybble refuses longer contexts.  Leading dense layers, then mixtures of experts with a
shared expert, all with the activation of `gpt-oss`.

Sources: MiniMax 2026, "MiniMax-M3"; llama.cpp `src/models/minimax-m3.cpp`.
"""

from ..config.keys import EXPERTS, Key
from .deepseek32 import INDEXER_KEYS
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = (
    EXPERTS
    | INDEXER_KEYS
    | {
        "attention.indexer.block_size": Key("index_block", "integer", 1, 2**31 - 1),
        "expert_gating_func": Key("moe.gating", "integer", 1, 4),
    }
)

_CHOOSES = "says how blocks are chosen, of which there are no more than are chosen"

INERT = {f"attention.indexer.{name}": _CHOOSES for name in ("head_count", "key_length", "local_blocks")}

INERT_TENSORS = {
    f"blk.N.indexer.{name}.weight": _CHOOSES for name in ("q_proj", "k_proj", "q_norm", "k_norm")
}

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.qk_norms(),
    **tensors.gated_ffn(when="is_dense"),
    **tensors.experts(),
    **tensors.shared_expert(),
}


def build(g: Graph, model: Config) -> None:
    g.limit_context(model.n_index_top * model.index_block)
    rope, gating = rope_table(g, model), layers.GATINGS[model.moe.gating]
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        is_normalized = c.moe.weights_norm
        h = layers.experts_or_ffn(b, h, c, gating, b.swiglu_oai, b.swiglu_oai, is_normalized=is_normalized)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


MINIMAX_M3 = Architecture("minimax-m3", TENSORS, build, KEYS, INERT, INERT_TENSORS)
