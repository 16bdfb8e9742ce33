"""`bert`: BERT, RoBERTa, XLM-R, DistilBERT, MiniLM, BGE, E5, GTE, and rerankers of them; `nomic-bert`: Nomic
Embed 1 and 1.5; `nomic-bert-moe`: Nomic Embed 2; `jina-bert-v3`: Jina Embeddings 3.

Encoders: every token sees all others, and the output is an embedding per token.  Post-norm: layer norms
follow the residual additions.  BERT has learned positions and a feed-forward layer with GELU; Nomic 1 has
RoPE and SwiGLU; Nomic 2 has GELU, and in every second layer a mixture of experts without gates; Jina 3 is
BERT with RoPE. All tokens get the type embedding of the first text.

Sources: Devlin et al. 2018 (arXiv:1810.04805); Nussbaum et al. 2024 (arXiv:2402.01613); Nussbaum & Duderstadt
2025 (arXiv:2502.07972); Sturua et al. 2024 (arXiv:2409.10173); llama.cpp `src/models/bert.cpp`,
`nomic-bert.cpp`, `nomic-bert-moe.cpp`, `jina-bert-v3.cpp`.
"""

from ..config.keys import EXPERT_COUNTS, LAYER_NORM, NOT_CAUSAL, Key
from .parts import Architecture, Config, Graph, layers, optional, required, rope_table, tensors
from .parts.classifier import DEEP_CLASSIFIER, classifier

KEYS = LAYER_NORM | {
    "tokenizer.ggml.token_type_count": Key("n_token_types", "integer", 1, 2**16, is_prefixed=False),
}

MOE_KEYS = KEYS | EXPERT_COUNTS | {"moe_every_n_layers": Key("moe.layer_step", "integer", 2, 2)}


POST_NORM: tensors.Table = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "token_types.weight": optional("n_token_types", "n_embd"),
    "token_embd_norm.weight": required("n_embd"),
    "token_embd_norm.bias": required("n_embd"),
    **tensors.norms_with_bias("attn_output_norm", "layer_output_norm"),
    **tensors.attention(),
}

BERT_TENSORS = {
    **POST_NORM,
    "position_embd.weight": required("n_ctx_train", "n_embd"),
    **tensors.ffn(),
    **DEEP_CLASSIFIER,
}

NOMIC_TENSORS = POST_NORM | tensors.gated_ffn()

MOE_TENSORS = POST_NORM | tensors.ffn(when="is_dense") | tensors.ungated_experts()

JINA3_TENSORS = POST_NORM | tensors.ffn()


def build_bert(g: Graph, model: Config) -> None:
    x = token_inputs(g)
    x = g.add("input_embd", x, g.position_embed("position_embd", x, "position_embd"))
    build_blocks(g, x, model, "")


def build_turned(g: Graph, model: Config) -> None:
    """With RoPE instead of learned positions."""
    build_blocks(g, token_inputs(g), model, rope_table(g, model, has_factors=False))


def token_inputs(g: Graph) -> str:
    """Embeddings of the tokens, plus the type embedding of the first text."""
    x = g.embed("token_embd", "token_embd")
    return g.add_row("typed_embd", x, "token_types", 0) if g.has("token_types") else x


def build_blocks(g: Graph, x: str, model: Config, rope: str) -> None:
    x = g.layer_norm("token_embd_norm", x, "token_embd_norm", model.norm_eps)
    for b, c in layers.blocks(g, model):
        h = layers.attention(b, x, c, rope, layer_norms=True, is_causal=False)
        h = b.add("resid_mid", x, h)
        x = b.layer_norm("resid_mid_norm", h, "attn_output_norm", c.norm_eps)
        h = b.add("resid_post", x, feed_forward(b, x, c))
        x = b.layer_norm("resid_post_norm", h, "layer_output_norm", c.norm_eps)
    g.embeddings(x)


def feed_forward(b: Graph, x: str, c: Config) -> str:
    """A mixture of experts, or a feed-forward layer with or without a gate, as the block has it."""
    if c.has_experts:
        ids, weights = layers.route(b, x, c, "softmax", is_normalized=False)
        return layers.ungated_experts(b, x, ids, weights, "gelu")
    return layers.gated_ffn(b, x, c) if b.has("ffn_gate") else layers.ffn(b, x, "gelu")


BERT = Architecture("bert", BERT_TENSORS, build_bert, KEYS, NOT_CAUSAL, build_pooled=classifier)
NOMIC_BERT = Architecture("nomic-bert", NOMIC_TENSORS, build_turned, KEYS, NOT_CAUSAL)
NOMIC_BERT_MOE = Architecture("nomic-bert-moe", MOE_TENSORS, build_turned, MOE_KEYS, NOT_CAUSAL)
JINA_BERT_V3 = Architecture("jina-bert-v3", JINA3_TENSORS, build_turned, KEYS, NOT_CAUSAL)
