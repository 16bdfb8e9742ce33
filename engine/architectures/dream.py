"""`dream`, `llada`, `llada-moe`, `rnd1`: models that write a text by filling in its masked tokens.

The graphs of qwen2, llama, olmoe and qwen3moe without a causal mask: every token sees all others.  One run is
one step of the diffusion, over the complete text; the caller decides which tokens to keep.

Sources: Ye et al. 2025, "Dream 7B" (arXiv:2508.15487); Nie et al. 2025, "LLaDA" (arXiv:2502.09992); Zhu et
al. 2025, "LLaDA-MoE" (arXiv:2509.24389); Radical Numerics 2025, "RND1"; llama.cpp `src/models/dream.cpp`,
`llada.cpp`, `llada-moe.cpp`, `rnd1.cpp`.
"""

from ...kernels.choices import Pairing
from ..config.keys import EXPERTS, NOT_CAUSAL
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(when="is_dense"),
}

MOE_TENSORS = TENSORS | tensors.qk_norms() | tensors.experts()

UNUSED = ("attn_output.bias", "ffn_gate.bias", "ffn_up.bias", "ffn_down.bias")
INERT_TENSORS = dict.fromkeys(
    ("output.bias", "rope_freqs.weight", *(f"blk.N.{name}" for name in UNUSED)),
    "no model has it; llama.cpp's test model does, and leaves it aside",
)


def build(g: Graph, model: Config) -> None:
    pairing: Pairing = "norm" if model.architecture == "llada" else "neox"
    is_normalized = model.architecture == "rnd1"
    rope = rope_table(g, model, has_factors=False)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = layers.attention(b, h, c, rope, pairing, output_bias=False, is_causal=False)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        if c.has_experts:
            h = layers.experts(b, h, c, "softmax", is_normalized=is_normalized)
        else:
            h = layers.gated_ffn(b, h, c, has_bias=False)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm, has_bias=False)


DREAM = Architecture("dream", TENSORS, build, inert=NOT_CAUSAL, inert_tensors=INERT_TENSORS)
LLADA = Architecture("llada", TENSORS, build, inert=NOT_CAUSAL, inert_tensors=INERT_TENSORS)
LLADA_MOE = Architecture("llada-moe", MOE_TENSORS, build, EXPERTS, NOT_CAUSAL)
RND1 = Architecture("rnd1", MOE_TENSORS, build, EXPERTS, NOT_CAUSAL)
