"""`gemma-embedding`: EmbeddingGemma.

The graph of `gemma3` without a causal mask: every token sees all others, or those nearby in layers with a
sliding window.  Two matrices may follow the pooling.

Sources: Vera et al. 2025, "EmbeddingGemma" (arXiv:2509.20354); llama.cpp `src/models/gemma-embedding.cpp`.
"""

from ..config.keys import NOT_CAUSAL, Key
from . import gemma3
from .parts import Architecture, Config, Graph, layers, optional

KEYS = gemma3.KEYS | {"dense_2_feat_out": Key("n_dense", "integer", 0, 2**20, default=0)}

INERT = {
    **gemma3.INERT,
    **NOT_CAUSAL,
    "dense_2_feat_in": "it is embedding_length",
    "dense_3_feat_in": "it is dense_2_feat_out",
    "dense_3_feat_out": "it is embedding_length",
}

TENSORS = {
    **gemma3.TENSORS,
    "dense_2.weight": optional("n_dense", "n_embd"),
    "dense_3.weight": optional("n_embd", "n_dense"),
}

INERT_TENSORS = {"output.weight": "an encoder gives embeddings, and no logits"}


def build(g: Graph, model: Config) -> None:
    layers.encoder_end(g, gemma3.build_blocks(g, model, is_causal=False), model, g.rms_norm)


def dense(g: Graph, model: Config) -> None:
    """Two matrices, one after the other, where the file has them."""
    if g.has("dense_2") and g.has("dense_3"):
        g.linear("dense_3", g.linear("dense_2", "pooled", "dense_2"), "dense_3")


GEMMA_EMBEDDING = Architecture(
    "gemma-embedding", TENSORS, build, KEYS, INERT, INERT_TENSORS, build_pooled=dense
)
