"""`minicpm3`: MiniCPM 3 4B; `plm`: PLM 1.8B.

Multi-head latent attention as in deepseek2, with one matrix for keys and values.  MiniCPM has factors on the
embedding, on the output of each branch and on the logits.  PLM has a feed-forward layer without a gate, with
the square of ReLU; its embedding is also the head.

Sources: OpenBMB 2024, "MiniCPM3-4B"; Deng et al. 2025, "PLM" (arXiv:2503.12167); llama.cpp
`src/models/minicpm3.cpp`, `plm.cpp`.
"""

from . import deepseek2
from .deepseek2 import latent_attention
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = {name: key for name, key in deepseek2.KEYS.items() if "lora_rank" in name or "_mla" in name}

ATTENTION = {name: shape for name, shape in deepseek2.TENSORS.items() if "attn_" in name}

TENSORS = tensors.HEAD | tensors.ROPE_FACTORS | tensors.norms("ffn_norm") | ATTENTION | tensors.gated_ffn()

PLM_TENSORS = {
    "token_embd.weight": tensors.HEAD["token_embd.weight"],
    "output_norm.weight": tensors.HEAD["output_norm.weight"],
    **tensors.norms("ffn_norm"),
    **ATTENTION,
    **tensors.ffn(),
}

EMBEDDING_SCALE, DEPTH_SCALE, N_EMBD_BASE = 12.0, 1.4, 256


def build(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    residual_scale = DEPTH_SCALE * model.n_layers**-0.5
    x = g.embed("token_embd", "token_embd", scale=EMBEDDING_SCALE)
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        h = latent_attention(b, h, c, rope, c.mla.key_dim**-0.5, "neox")
        x = b.add("resid_mid", x, b.scale("attn_scaled", h, residual_scale))

        h = layers.gated_ffn(b, b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps), c)
        x = b.add("resid_post", x, b.scale("ffn_scaled", h, residual_scale))
    layers.head(g, x, model, g.rms_norm, scale=N_EMBD_BASE / model.n_embd)


def build_plm(g: Graph, model: Config) -> None:
    rope = rope_table(g, model)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, latent_attention(b, h, c, rope, c.mla.key_dim**-0.5))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.ffn(b, h, "relu2"))
    layers.head(g, x, model, g.rms_norm)


MINICPM3 = Architecture("minicpm3", TENSORS, build, KEYS)
PLM = Architecture("plm", PLM_TENSORS, build_plm, KEYS)
