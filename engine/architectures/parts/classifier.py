"""The head of a classifier or reranker, after the pooling.

A linear layer to the scores of the classes; before it, in most encoders, another with tanh, and in ModernBERT
with GELU and a norm.

Sources: Devlin et al. 2018, "BERT" (arXiv:1810.04805); llama.cpp `src/llama-graph.cpp`, build_pooling.
"""

from ...config.config import Config
from ...config.tensor_table import optional
from ...plan.graph.graph import Graph
from .tensors import Table

CLASSIFIER: Table = {
    "cls.output.weight": optional("n_classes", "n_embd"),
    "cls.output.bias": optional("n_classes"),
}

DEEP_CLASSIFIER: Table = {
    "cls.weight": optional("n_embd", "n_embd"),
    "cls.bias": optional("n_embd"),
    **CLASSIFIER,
}


def classifier(g: Graph, model: Config, has_gelu: bool = False) -> None:
    """The scores of the classes, if the file has a matrix for them."""
    x = "pooled"
    if not g.has("cls.output"):
        return
    if g.has("cls"):
        x = g.linear("cls", x, "cls")
        x = g.activate("cls_act", x, "gelu") if has_gelu else g.soft_cap("cls_act", x, 1.0)  # tanh
    if g.has("cls.norm"):
        x = g.layer_norm("cls_norm", x, "cls.norm", model.norm_eps)
    g.linear("scores", x, "cls.output")
