"""`jina-bert-v2`: Jina Embeddings 2, for code and in two languages too, and Jina's rerankers 1.

As bert, with ALiBi instead of learned positions, and GEGLU. The models for code and for two languages
normalize queries and keys, all heads together, and have a second norm after attention, of the sum of the
block's input and the output of the first norm.

Sources: Günther et al. 2023 (arXiv:2310.19923); llama.cpp `src/models/jina-bert-v2.cpp`, `bert.cpp`.
"""

from dataclasses import replace

from ...errors import ModelError
from ..config.keys import NOT_CAUSAL
from .bert import KEYS, POST_NORM, token_inputs
from .parts import Architecture, Config, Graph, layers, optional, required

TENSORS = {
    **POST_NORM,
    **{
        f"blk.N.{name}.{part}": optional("n_embd")
        for name in ("attn_q_norm", "attn_k_norm", "attn_norm_2")
        for part in ("weight", "bias")
    },
    "blk.N.ffn_gate.weight": optional("n_ff", "n_embd"),
    "blk.N.ffn_up.weight": required("n_ff|2*n_ff", "n_embd"),
    "blk.N.ffn_up.bias": optional("n_ff|2*n_ff"),
    "blk.N.ffn_down.weight": required("n_embd", "n_ff"),
    "blk.N.ffn_down.bias": required("n_embd"),
    "cls.weight": optional("n_classes", "n_embd"),
    "cls.bias": optional("n_classes"),
}


def build(g: Graph, model: Config) -> None:
    model = replace(model, alibi_bias=8.0)
    x = g.layer_norm("token_embd_norm", token_inputs(g), "token_embd_norm", model.norm_eps)
    for b, c in layers.blocks(g, model):
        h = b.add("resid_mid", x, layers.attention(b, x, c, layer_norms=True, is_causal=False))
        h = b.layer_norm("resid_mid_norm", h, "attn_output_norm", c.norm_eps)
        if b.has("attn_norm_2"):
            h = b.add("resid_mid_2", x, h)
            h = b.layer_norm("resid_mid_norm_2", h, "attn_norm_2", c.norm_eps)

        x = b.add("resid_post", h, feed_forward(b, h, c))
        x = b.layer_norm("resid_post_norm", x, "layer_output_norm", c.norm_eps)
    g.embeddings(x)


def feed_forward(b: Graph, x: str, c: Config) -> str:
    """A feed-forward layer with or without a gate; gate and up may be one matrix."""
    up, has_gate = b.weight("ffn_up"), b.has("ffn_gate")
    is_fused = up.shape[0] == 2 * c.n_ff
    if is_fused and has_gate:
        raise ModelError(f"{up.path}: {up.name} is {up.shape}, gate and up in one, but there is ffn_gate too")
    return layers.gated_ffn(b, x, c, "gelu") if is_fused or has_gate else layers.ffn(b, x, "gelu")


def score(g: Graph, model: Config) -> None:
    """The score of a reranker: a linear layer and tanh."""
    if g.has("cls"):
        g.soft_cap("scores", g.linear("cls", "pooled", "cls"), 1.0)


JINA_BERT_V2 = Architecture("jina-bert-v2", TENSORS, build, KEYS, NOT_CAUSAL, build_pooled=score)
