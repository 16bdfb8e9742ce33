"""`gpt2`: GPT-2, DistilGPT-2, Cerebras-GPT; `starcoder`: StarCoder 1, SantaCoder.

Learned positions are added to the embedding; layer norms, biases, one matrix for queries, keys and values,
and a feed-forward layer with GELU. StarCoder has one head of keys and values (multi-query attention).

Sources: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; Li et al. 2023
(arXiv:2305.06161); llama.cpp `src/models/gpt2.cpp`, `starcoder.cpp`.
"""

from ..config.keys import LAYER_NORM
from .parts import Architecture, Config, Graph, layers, required, tensors

TENSORS = {
    **tensors.HEAD,
    "position_embd.weight": required("n_ctx_train", "n_embd"),
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.ffn(),
}


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    x = g.add("input_embd", x, g.position_embed("position_embd", x, "position_embd"))
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.ffn(b, h, "gelu"))
    layers.head(g, x, model, g.layer_norm)


GPT2 = Architecture("gpt2", TENSORS, build, LAYER_NORM)
STARCODER = Architecture("starcoder", TENSORS, build, LAYER_NORM)
