"""`starcoder2`: StarCoder 2; `nemotron`: Nemotron 3 and 4, Minitron.

Pre-norm blocks with layer norms, biases, RoPE and a feed-forward layer without a gate: GELU in StarCoder,
the square of ReLU in Nemotron, which rotates only a part of each head.

Sources: Lozhkov et al. 2024 (arXiv:2402.19173); Parmar et al. 2024, "Nemotron-4" (arXiv:2402.16819);
llama.cpp `src/models/starcoder2.cpp`, `nemotron.cpp`.
"""

from ..config import Config
from ..graph import Graph
from ..keys import LAYER_NORM
from ..tensor_shapes import required
from .architecture import Architecture
from .layers import attention, blocks, ffn, head
from .rope import rope_table
from .tensors import HEAD, norms_with_bias
from .tensors import attention as attention_tensors
from .tensors import ffn as ffn_tensors

TENSORS = {
    **HEAD,
    "output_norm.bias": required("n_embd"),
    **norms_with_bias("attn_norm", "ffn_norm"),
    **attention_tensors(),
    **ffn_tensors(),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, attention(b, h, c, rope))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, ffn(b, h, "relu2" if c.architecture == "nemotron" else "gelu"))
    head(g, x, model, g.layer_norm)


STARCODER2 = Architecture("starcoder2", TENSORS, build, LAYER_NORM)
NEMOTRON = Architecture("nemotron", TENSORS, build, LAYER_NORM)
