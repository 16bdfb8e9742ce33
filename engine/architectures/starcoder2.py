"""`starcoder2`: StarCoder 2; `codeshell`: CodeShell 7B; `nemotron`: Nemotron 3 and 4, Minitron; `jais2`:
Jais 2; `pockettts`: the model of Pocket TTS.

Pre-norm blocks with layer norms, biases, RoPE and a feed-forward layer without a gate: GELU in StarCoder and
CodeShell, the square of ReLU in Jais and in Nemotron, which has RoPE on a part of each head.  The head of a
CodeShell may also be its embedding.  Pocket TTS has neighbouring values as RoPE pairs, the others NeoX pairs.

Sources: Lozhkov et al. 2024 (arXiv:2402.19173); Parmar et al. 2024, "Nemotron-4" (arXiv:2402.16819);
llama.cpp `src/models/starcoder2.cpp`, `codeshell.cpp`, `nemotron.cpp`, `jais2.cpp`,
`pockettts.cpp`.
"""

from ...kernels.choices import Activation, Pairing
from ..config.keys import LAYER_NORM
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors

TENSORS = {
    **tensors.HEAD,
    "output_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.ffn(),
}

CODESHELL_TENSORS = {
    **TENSORS,
    "token_embd.weight": optional("n_vocab", "n_embd"),
    "output.weight": required("n_vocab", "n_embd"),
}


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    pairing: Pairing = "norm" if model.architecture == "pockettts" else "neox"
    function: Activation = "relu2" if model.architecture in ("nemotron", "jais2") else "gelu"
    x = g.embed("token_embd", "token_embd" if g.has("token_embd") else "output")
    for b, c in layers.blocks(g, model):
        h = b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, pairing))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.ffn(b, h, function))
    layers.head(g, x, model, g.layer_norm)


STARCODER2 = Architecture("starcoder2", TENSORS, build, LAYER_NORM)
CODESHELL = Architecture("codeshell", CODESHELL_TENSORS, build, LAYER_NORM)
NEMOTRON = Architecture("nemotron", TENSORS, build, LAYER_NORM)
JAIS2 = Architecture("jais2", TENSORS, build, LAYER_NORM)
POCKETTTS = Architecture("pockettts", TENSORS, build, LAYER_NORM)
