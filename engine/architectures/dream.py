"""`dream`, `llada`, `llada-moe`, `rnd1`: models that write a text by filling in its masked tokens.

As qwen2, llama, olmoe and qwen3moe, but every token sees all others.  A step of this diffusion runs the whole
text; which tokens are kept is left to whoever calls.

Sources: Ye et al. 2025, "Dream 7B" (arXiv:2508.15487); Nie et al. 2025, "LLaDA" (arXiv:2502.09992); Zhu et
al. 2025, "LLaDA-MoE" (arXiv:2509.24389); Radical Numerics 2025, "RND1"; llama.cpp `src/models/dream.cpp`,
`llada.cpp`, `llada-moe.cpp`, `rnd1.cpp`.
"""

from ...kernels.names import Pairing
from ..config.config import Config
from ..config.keys import EXPERTS
from ..plan.graph.graph import Graph
from .architecture import Architecture
from .parts.layers import attention, blocks, experts, gated_ffn, head
from .parts.rope import rope_table
from .parts.tensors import HEAD, norms, qk_norms
from .parts.tensors import attention as attention_tensors
from .parts.tensors import experts as expert_tensors
from .parts.tensors import gated_ffn as ffn_tensors

INERT = {"attention.causal": "attention goes both ways whatever it says"}

TENSORS = {**HEAD, **norms("attn_norm", "ffn_norm"), **attention_tensors(), **ffn_tensors(when="is_dense")}

MOE_TENSORS = {**TENSORS, **qk_norms(), **expert_tensors()}

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
    for b, c in blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = attention(b, h, c, rope, pairing, output_bias=False, is_causal=False)
        x = b.add("resid_mid", x, h)

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        if c.has_experts:
            h = experts(b, h, c, "softmax", is_normalized=is_normalized)
        else:
            h = gated_ffn(b, h, c, has_bias=False)
        x = b.add("resid_post", x, h)
    head(g, x, model, g.rms_norm, has_bias=False)


DREAM = Architecture("dream", TENSORS, build, inert=INERT, inert_tensors=INERT_TENSORS)
LLADA = Architecture("llada", TENSORS, build, inert=INERT, inert_tensors=INERT_TENSORS)
LLADA_MOE = Architecture("llada-moe", MOE_TENSORS, build, EXPERTS, INERT)
RND1 = Architecture("rnd1", MOE_TENSORS, build, EXPERTS, INERT)
