"""`openelm`: OpenELM 270M to 3B.

The graph of `qwen3`, with queries, keys and values in one matrix; each layer has its own number of heads and
its own feed-forward width, and the embedding is also the head.

Sources: Mehta et al. 2024 (arXiv:2404.14619); llama.cpp `src/models/openelm.cpp`.
"""

from ..config.keys import FFN_WIDTHS, HEAD_COUNTS
from . import qwen3
from .parts import Architecture

TENSORS = {name: shape for name, shape in qwen3.TENSORS.items() if name != "output.weight"}

OPENELM = Architecture("openelm", TENSORS, qwen3.build, HEAD_COUNTS | FFN_WIDTHS)
