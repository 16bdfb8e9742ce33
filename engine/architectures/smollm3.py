"""`smollm3`: SmolLM 3.

As llama, but every fourth layer has no RoPE.

Sources: Hugging Face 2025, "SmolLM3"; Yang et al. 2025, "RoPE to NoPE and back again" (arXiv:2501.18795);
llama.cpp `src/models/smollm3.cpp`.
"""

from ..config.keys import SCALES
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

NO_ROPE_EVERY = 4

KEYS = {"attention.scale": SCALES["attention.scale"]}

TENSORS = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention() | tensors.gated_ffn()


def build(g: Graph, model: Config) -> None:
    table = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        rope = table if (c.layer + 1) % NO_ROPE_EVERY else ""

        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm"))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c))
    layers.head(g, x, model, g.rms_norm)


SMOLLM3 = Architecture("smollm3", TENSORS, build, KEYS)
