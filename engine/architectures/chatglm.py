"""`chatglm`: ChatGLM 2 and 3, GLM-4-9B of 2024, GLM-Edge.

The graph of `llama`, with RoPE on a part of each head, and gate and up in one matrix.

Sources: GLM Team 2024 (arXiv:2406.12793); llama.cpp `src/models/chatglm.cpp`.
"""

from . import llama
from .parts import Architecture, tensors

TENSORS = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention() | tensors.fused_ffn()

CHATGLM = Architecture("chatglm", TENSORS, llama.build)
