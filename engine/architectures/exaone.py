"""`exaone`: EXAONE 3 and 3.5, EXAONE Deep.

The graph of `phi3`: as llama, with NeoX RoPE pairs.

Sources: LG AI Research 2024 (arXiv:2408.03541, arXiv:2412.04862); llama.cpp `src/models/exaone.cpp`.
"""

from . import phi3
from .parts import Architecture, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.ROPE_FACTORS,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}

EXAONE = Architecture("exaone", TENSORS, phi3.build)
