"""`smallthinker`: SmallThinker 4B-A0.6B and 21B-A3B.

A mixture of experts in every layer, with ReLU gates.  The router reads the input of the block, before
attention, so that experts can be fetched in the meantime.  If the file has a sliding window, the first of
every four layers is global, without RoPE.

Sources: Song et al. 2025 (arXiv:2507.20984); llama.cpp `src/models/smallthinker.cpp`.
"""

from ..config.keys import EXPERTS, ROPE_BASE_SWA, SLIDING_WINDOW, sliding_pattern
from .parts import Architecture, Config, Graph, layers, rope_table, rope_table_swa, tensors

NO_ROPE_EVERY = 4
WINDOW = 4096  # whatever the file says, as in llama.cpp

KEYS = (
    EXPERTS
    | ROPE_BASE_SWA
    | {
        "attention.sliding_window": SLIDING_WINDOW,
        "attention.sliding_window_pattern": sliding_pattern(4, dense_first=True),
    }
)

TENSORS = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention() | tensors.experts()


def build(g: Graph, model: Config) -> None:
    gating = layers.GATINGS.get(model.moe.gating, "softmax")
    has_rope_everywhere = model.sliding_window == 0 or model.n_layers == NO_ROPE_EVERY
    table, table_swa = rope_table(g, model), rope_table_swa(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table_swa if c.is_sliding else table
        if c.layer % NO_ROPE_EVERY == 0 and not has_rope_everywhere:
            rope = ""

        def gated_by_relu(out: str, gate: str, up: str, b: Graph = b) -> str:
            return b.mul(out, b.activate("exps_relu", gate, "relu"), up)

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        mid = b.add("resid_mid", x, layers.attention(b, h, c, rope, window=WINDOW if c.is_sliding else 0))

        h = b.rms_norm("ffn_norm", mid, "ffn_norm", c.norm_eps)
        h = layers.experts(b, h, c, gating, is_normalized=True, activation=gated_by_relu, router_input=x)
        x = b.add("resid_post", mid, h)
    layers.head(g, x, model, g.rms_norm)


SMALLTHINKER = Architecture("smallthinker", TENSORS, build, KEYS)
