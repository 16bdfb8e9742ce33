"""`baichuan`: Baichuan 1 and 2; `xverse`: XVERSE; `refact`: Refact 1.6B.

XVERSE has the graph of `llama`. The others differ from it in how they encode positions: Baichuan 7B, which is
the one with 32 layers, has RoPE; Refact and Baichuan 13B, with 40 layers, have ALiBi.  llama.cpp gives a
Baichuan of another size neither, and ignores the biases that a Refact may have.

Sources: Yang et al. 2023 (arXiv:2309.10305); Press et al. 2021 (arXiv:2108.12409); llama.cpp
`src/models/baichuan.cpp`, `xverse.cpp`, `refact.cpp`.
"""

from dataclasses import replace

from . import llama
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

TENSORS = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention() | tensors.gated_ffn()

REFACT_TENSORS = tensors.ROPE_FACTORS | TENSORS

ALIBI_BIAS = 8.0
N_LAYERS_OF_7B, N_LAYERS_OF_13B = 32, 40

INERT = {"attention.max_alibi_bias": "it is 8 where there is one, whatever the file says"}

REFACT_INERT_TENSORS = {
    **dict.fromkeys(tensors.ROPE_FACTORS, "Refact has no RoPE"),
    **dict.fromkeys(
        (f"blk.N.{name}.bias" for name in ("attn_output", "ffn_gate", "ffn_up", "ffn_down")),
        "no Refact has it; llama.cpp's test model does, and leaves it aside",
    ),
}


def build(g: Graph, model: Config, rope: str = "") -> None:
    has_bias = model.architecture != "refact"
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, "norm", output_bias=has_bias))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c, has_bias=has_bias))
    layers.head(g, x, model, g.rms_norm)


def build_refact(g: Graph, model: Config) -> None:
    build(g, replace(model, alibi_bias=ALIBI_BIAS))


def build_baichuan(g: Graph, model: Config) -> None:
    if model.n_layers == N_LAYERS_OF_7B:
        build(g, model, rope_table(g, model))
    else:
        build(g, replace(model, alibi_bias=ALIBI_BIAS if model.n_layers == N_LAYERS_OF_13B else 0.0))


BAICHUAN = Architecture("baichuan", TENSORS, build_baichuan, inert=INERT)
XVERSE = Architecture("xverse", TENSORS, llama.build)
REFACT = Architecture("refact", REFACT_TENSORS, build_refact, inert=INERT, inert_tensors=REFACT_INERT_TENSORS)
