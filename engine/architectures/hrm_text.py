"""`hrm_text`: HRM-Text, a hierarchical reasoning model.

Two stacks of layers, a low and a high one: in every high cycle the low stack runs several times, then the
high one.  The input of each pass is the sum of the states of both stacks.  A pass has keys and values of its
own, but the weights are the same in every pass.  Norms have no weights, and attention has an output gate.
`block_count` counts the layers of all passes.

Sources: Wang et al. 2025, "Hierarchical Reasoning Model" (arXiv:2506.21734); llama.cpp
`src/models/hrm-text.cpp`.
"""

from ...errors import ModelError
from ..config.keys import SCALES, Key
from .parts import Architecture, Config, Graph, layers, required, rope_table, tensors

KEYS = {
    "embedding_scale": SCALES["embedding_scale"],
    "hrm.layers_per_stack": Key("n_stack_layers", "integer", 1, 1024),
    "hrm.h_cycles": Key("n_high_cycles", "integer", 1, 1024),
    "hrm.l_cycles": Key("n_low_cycles", "integer", 1, 1024),
}

INERT = {"hrm.prefix_lm": "tokens see those before them only, as in llama.cpp"}

TENSORS = {
    "token_embd.weight": tensors.HEAD["token_embd.weight"],
    "output.weight": tensors.HEAD["output.weight"],
    "hrm.z_l_init": required("n_embd"),
    **tensors.attention(when="is_stack_layer"),
    "blk.N.attn_gate.weight": required("heads_width", "n_embd", when="is_stack_layer"),
    **tensors.gated_ffn(when="is_stack_layer"),
}


def build(g: Graph, model: Config) -> None:
    n_passes = model.n_high_cycles * (model.n_low_cycles + 1)
    if model.n_layers != n_passes * model.n_stack_layers:
        raise ModelError(
            f"block_count {model.n_layers} must be the {model.n_stack_layers} layers of {n_passes} passes"
        )
    rope = rope_table(g, model)
    high, low = g.embed("token_embd", "token_embd", model.embedding_scale or 1.0), ""
    for number in range(n_passes):
        is_high = number % (model.n_low_cycles + 1) == model.n_low_cycles
        first = g.block(number * model.n_stack_layers)
        if low:
            x = first.add("pass_input", high, low)
        else:
            x = first.add_vector("pass_input", high, "hrm.z_l_init")
        x = stack(g, x, model, number, is_high, rope)
        if number == n_passes - 1:
            g.select_rows(x)
            x = g.plain_rms_norm("output_norm", x, model.norm_eps)
        else:
            last = g.block((number + 1) * model.n_stack_layers - 1)
            x = last.plain_rms_norm("pass_output", x, model.norm_eps)
        high, low = (x, low) if is_high else (high, x)
    g.linear("logits", high, "output" if g.has("output") else "token_embd")


def stack(g: Graph, x: str, model: Config, number: int, is_high: bool, rope: str) -> str:
    """One pass through a stack."""
    for i in range(model.n_stack_layers):
        layer = number * model.n_stack_layers + i
        b = g.block(layer, weights_of=model.n_stack_layers * is_high + i)
        c = model.at(layer)
        h = b.plain_rms_norm("attn_norm", x, c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope))

        h = b.plain_rms_norm("ffn_norm", x, c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    return x


HRM_TEXT = Architecture("hrm_text", TENSORS, build, KEYS, INERT)
