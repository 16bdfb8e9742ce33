"""`hunyuan-moe`: Hunyuan-A13B; `hunyuan-dense`: Hunyuan 0.5B to 7B; `hunyuan_vl`: HunyuanOCR (text).

As llama, with NeoX RoPE pairs, and norms of queries and keys after RoPE, whose base may be raised for longer
contexts.  The mixture of experts has a shared expert.

Sources: Tencent 2024 (arXiv:2411.02265), 2025, "Hunyuan-A13B"; llama.cpp `src/models/hunyuan-moe.cpp`,
`hunyuan-vl.cpp`.
"""

from ..config.keys import EXPERTS, ROPE_SECTIONS, Key, optional_float
from .parts import Architecture, Config, Graph, layers, rope_table, tensors

KEYS = {"rope.scaling.alpha": optional_float("rope.alpha", 0.0)}

MOE_KEYS = {
    "expert_count": EXPERTS["expert_count"],
    "expert_used_count": EXPERTS["expert_used_count"],
    "expert_shared_feed_forward_length": Key("moe.n_ff_shared", "integer", 1, 2**24, default=None),
}

MOE_INERT = {
    "expert_feed_forward_length": "the experts are as wide as feed_forward_length says",
    "expert_shared_count": "the shared expert has a width of its own",
}

DENSE_INERT = {"rope.dimension_sections": "llama.cpp reads them, and uses them in hunyuan_vl alone"}

COMMON = tensors.HEAD | tensors.norms("attn_norm", "ffn_norm") | tensors.attention() | tensors.qk_norms()
TENSORS = COMMON | tensors.gated_ffn()
MOE_TENSORS = COMMON | tensors.experts() | tensors.shared_expert()


def build(g: Graph, model: Config) -> None:
    raised = (model.rope.alpha or 1.0) ** (model.head_dim / (model.head_dim - 2))
    rope = rope_table(g, model, base=model.rope.freq_base * raised)
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, norms_after_rope=True))

        h = b.rms_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        h = layers.experts_or_ffn(b, h, c, "softmax", is_normalized=True)
        x = b.add("resid_post", x, h)
    layers.head(g, x, model, g.rms_norm)


HUNYUAN_DENSE = Architecture("hunyuan-dense", TENSORS, build, KEYS, DENSE_INERT)
HUNYUAN_MOE = Architecture("hunyuan-moe", MOE_TENSORS, build, MOE_KEYS, MOE_INERT)
HUNYUAN_VL = Architecture("hunyuan_vl", TENSORS, build, KEYS | ROPE_SECTIONS)
