"""Attention maps: where each head looks from every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.llm import LLM
from ..errors import RequestError
from ..gguf_io.display import Shown, Table, brief
from .tokens import token_text


@dataclass(frozen=True, repr=False)
class AttentionMaps(Shown):
    """Attention probabilities of some layers."""

    tokens: list[str]
    """(n_tokens,): the texts of the tokens."""
    layers: Mapping[int, NDArray[np.float32]]
    """By layer: (n_heads, n_tokens, n_tokens), head, query, key; a row sums to 1, or less with sinks."""

    def _facts(self) -> dict[str, str]:
        return {"tokens": brief(self.tokens), "layers": repr(self.layers)}


def attention_maps(llm: LLM, prompt: Prompt, layers: Sequence[int] | None = None) -> AttentionMaps:
    """The attention maps of `layers`, by default of all that have attention.

        maps = research.attention_maps(llm, "The cat sat on the mat.", layers=[0, 1])

    Raises RequestError for a layer that has no attention, and what `LLM.trace` raises.
    """
    specs = [spec for name, spec in llm.activations.items() if name.endswith(".attn_probs")]
    every = {spec.layer: spec.name for spec in specs if spec.layer is not None}
    chosen = list(every) if layers is None else list(layers)
    unknown = [layer for layer in chosen if layer not in every]
    if unknown:
        raise RequestError(f"layer {unknown[0]!r:.100} has no attention; those that have are {list(every)}")
    found = llm.trace(prompt, [every[layer] for layer in chosen], logits=None)
    tokens = [token_text(llm, token_id) for token_id in found.ids.tolist()]
    maps = {layer: found[every[layer]].swapaxes(0, 1) for layer in chosen}
    return AttentionMaps(tokens, Table(maps, "layers"))
