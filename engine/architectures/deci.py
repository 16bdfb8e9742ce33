"""`deci`: DeciLM 7B, Nemotron 51B, Nemotron Super 49B and Ultra 253B.

As llama, pruned by an architecture search: each layer has its own number of heads and its own feed-forward
width.  A layer without key heads has one matrix in place of attention; one without heads has no attention;
one without a feed-forward layer is skipped as a whole, as in llama.cpp.

Sources: Bercovich et al. 2024, "Puzzle" (arXiv:2411.19146); llama.cpp `src/models/deci.cpp`.
"""

from ..config.keys import FFN_WIDTHS, HEAD_COUNTS
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = HEAD_COUNTS | FFN_WIDTHS

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", when="n_heads"),
    **tensors.attention(when="n_kv_heads"),
    "blk.N.attn_output.weight": required("n_embd", "heads_width", when="n_heads"),
    **tensors.norms("ffn_norm", when="n_ff"),
    **tensors.gated_ffn(when="n_ff"),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        if c.n_ff == 0:
            x = b.take_columns("resid_post", x, 0, c.n_embd)  # a copy under the name that ends every block
            continue
        if c.n_heads:
            h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
            if c.n_kv_heads:
                h = layers.attention(b, h, c, rope, "norm")
            else:
                h = b.linear("attn_out", h, "attn_output")
            x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


DECI = Architecture("deci", TENSORS, build, KEYS)
