"""`phi2`: Phi-1, Phi-1.5 and Phi-2.

The graph of `falcon`: attention and a feed-forward layer with GELU in parallel, on one layer norm.  Biases
everywhere, on the head too; RoPE on a part of each head.

Sources: Li et al. 2023 (arXiv:2309.05463); llama.cpp `src/models/phi2.cpp`.
"""

from ..config.keys import LAYER_NORM
from . import falcon
from .parts import Architecture, required, tensors

TENSORS = {
    **tensors.HEAD,
    "output.bias": required("n_vocab"),
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm"),
    **tensors.attention(),
    **tensors.ffn(),
}

PHI2 = Architecture("phi2", TENSORS, falcon.build, LAYER_NORM)
