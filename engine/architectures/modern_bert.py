"""`modern-bert`: ModernBERT, GTE ModernBERT and its reranker, Granite Embedding R2.

An encoder with layer norms before the branches; the first has none, since the embedding is normalized.  GEGLU
or SwiGLU, with gate and up in one matrix.  The first of every three layers is global; the others see the
tokens nearby, with a RoPE base of their own.

Sources: Warner et al. 2024, "ModernBERT" (arXiv:2412.13663); llama.cpp `src/models/modern-bert.cpp`.
"""

from functools import partial

from ...errors import GGUFUnsupportedError
from ...kernels.choices import Activation
from ..config.keys import LAYER_NORM, NOT_CAUSAL, SLIDING_WINDOW, Key, sliding_pattern
from .parts import (
    Architecture,
    Config,
    Graph,
    layers,
    optional,
    required,
    rope_table,
    rope_table_swa,
    tensors,
)
from .parts.classifier import DEEP_CLASSIFIER, classifier

KEYS = LAYER_NORM | {
    "attention.sliding_window": SLIDING_WINDOW,
    "attention.sliding_window_pattern": sliding_pattern(3, dense_first=True),
    "rope.freq_base_swa": Key("rope.freq_base_swa", "float", 0, 1e15, default=10000.0),
    "hidden_activation": Key("activation", "text", default="gelu"),
    "classifier.pooling_type": Key("classifier_pooling", "integer", -1, 2**32 - 1, default=1),
}

TENSORS = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "token_embd_norm.weight": required("n_embd"),
    "output_norm.weight": required("n_embd"),
    "blk.N.attn_norm.weight": optional("n_embd"),
    **tensors.norms("ffn_norm"),
    **tensors.attention(),
    **tensors.fused_ffn(),
    **DEEP_CLASSIFIER,
    "cls.norm.weight": optional("n_embd"),
}

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "geglu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "swiglu": "silu",
}


def build(g: Graph, model: Config) -> None:
    if model.activation not in ACTIVATIONS:
        raise GGUFUnsupportedError(
            f"{g.weight('token_embd').path}: modern-bert.hidden_activation is {model.activation!r:.100}; "
            f"nybble knows {', '.join(ACTIVATIONS)}"
        )
    global_rope = rope_table(g, model, has_factors=False)
    local_rope = rope_table_swa(g, model, is_stretched=False, has_factors=False)

    x = g.embed("token_embd", "token_embd")
    x = g.layer_norm("token_embd_norm", x, "token_embd_norm", model.norm_eps)
    for b, c in layers.blocks(g, model):
        rope, window = (local_rope, c.sliding_window // 2 + 1) if c.is_sliding else (global_rope, 0)

        is_first = c.layer == 0 and not b.has("attn_norm")
        h = x if is_first else b.layer_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_mid", x, layers.attention(b, h, c, rope, window=window, is_causal=False))

        h = b.layer_norm("ffn_norm", x, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, layers.gated_ffn(b, h, c, ACTIVATIONS[c.activation]))
    layers.encoder_end(g, x, model, g.layer_norm)


MODERN_BERT = Architecture(
    "modern-bert", TENSORS, build, KEYS, NOT_CAUSAL, build_pooled=partial(classifier, has_gelu=True)
)
