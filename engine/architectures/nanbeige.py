"""`nanbeige`: Nanbeige 4, whose blocks may run several times.

As llama.  With `num_loops` above 1 all blocks run again on their own output, each time with keys and values
of their own; the last norm is applied between the rounds too, unless the file says that it is not.

Sources: Nanbeige Lab 2025 (arXiv:2512.06266); llama.cpp `src/models/nanbeige.cpp`.
"""

from ..config.keys import Key
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = {
    "num_loops": Key("n_loops", "integer", 1, 64, default=1),
    "skip_loop_final_norm": Key("skips_loop_norm", "boolean", default=False),
}

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    rope, n = rope_table(g, model), model.n_layers
    x = g.embed("token_embd", "token_embd")
    for number in range(model.n_loops * n):
        b, c = g.block(number, weights_of=number % n), model.at(number % n)
        if number and c.layer == 0 and not model.skips_loop_norm:
            x = g.rms_norm(f"blk.{number - 1}.loop_norm", x, "output_norm", c.norm_eps)

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm", output_bias=False))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


NANBEIGE = Architecture("nanbeige", TENSORS, build, KEYS)
