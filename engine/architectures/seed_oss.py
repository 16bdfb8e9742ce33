"""`seed_oss`: Seed-OSS 36B.

The graph of `glm4moe`, without experts: the tensor post_attention_norm is the norm before the feed-forward
layer.

Sources: ByteDance Seed 2025, "Seed-OSS"; llama.cpp `src/models/seed-oss.cpp`.
"""

from . import glm4moe
from .parts import Architecture, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "post_attention_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}

SEED_OSS = Architecture("seed_oss", TENSORS, glm4moe.build)
