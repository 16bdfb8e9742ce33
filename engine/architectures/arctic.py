"""`arctic`: Snowflake Arctic.

As llama, with a mixture of experts in every layer, beside attention and the dense feed-forward layer: its
norm takes what goes into the block.

Sources: Snowflake 2024, "Snowflake Arctic"; llama.cpp `src/models/arctic.cpp`.
"""

from ..config.config import Config
from ..config.keys import EXPERT_COUNTS
from ..config.tensor_table import required
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts.layers import attention, blocks, experts, gated_ffn, head
from .parts.rope import rope_table
from .parts.tensors import HEAD, norms
from .parts.tensors import attention as attention_tensors
from .parts.tensors import experts as expert_tensors

TENSORS = {
    **HEAD,
    **norms("attn_norm", "ffn_norm", "ffn_norm_exps"),
    **attention_tensors(),
    "blk.N.ffn_gate.weight": required("n_embd", "n_embd"),
    "blk.N.ffn_up.weight": required("n_embd", "n_embd"),
    "blk.N.ffn_down.weight": required("n_embd", "n_embd"),
    **expert_tensors(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        mid = b.add("resid_mid", x, attention(b, h, c, rope, "norm"))

        h = b.rms_norm("ffn_norm", mid, "ffn_norm", c.norm_eps)
        dense = b.add("resid_dense", mid, gated_ffn(b, h, c))

        h = b.rms_norm("ffn_norm_exps", x, "ffn_norm_exps", c.norm_eps)
        x = b.add("resid_post", dense, experts(b, h, c, "softmax", is_normalized=True, out="moe_out"))
    head(g, x, model, g.rms_norm)


ARCTIC = Architecture("arctic", TENSORS, build, EXPERT_COUNTS)
