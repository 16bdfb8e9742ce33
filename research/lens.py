"""The logit lens: the next token by each layer's residual stream, as if it were the last layer.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens" (lesswrong.com/posts/AcKRB8wDpdaN6v6ru).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.llm import LLM
from ..gguf_io.display import Shown, brief
from .log_softmax import log_softmax
from .tokens import token_text
from .windows import ROWS


@dataclass(frozen=True, repr=False)
class Lens(Shown):
    """Predictions of the next token from the residual stream before the first block and after each."""

    names: list[str]
    """(n_layers,): the names of these residual streams, from the first to the last."""
    ids: NDArray[np.int32]
    """(n_tokens,)"""
    tokens: list[str]
    """(n_tokens,): their texts."""
    top_ids: NDArray[np.int64]
    """(n_layers, n_tokens): the most probable next token."""
    top_probabilities: NDArray[np.float64]
    """(n_layers, n_tokens): its probability."""
    top_tokens: list[list[str]]
    """(n_layers, n_tokens): its text."""
    next_log_probabilities: NDArray[np.float64]
    """(n_layers, n_tokens - 1): of the actual next token, in nats."""

    def _facts(self) -> dict[str, str]:
        token, probability = self.top_tokens[-1][-1], self.top_probabilities[-1, -1]
        return {
            "layers": brief(self.names),
            "tokens": brief(self.tokens),
            "answer": f"{token!r} with {probability:.1%} after the last token",
        }


def logit_lens(llm: LLM, prompt: Prompt) -> Lens:
    """The logit lens on `prompt`. Raises what `LLM.trace` raises.

    lens = research.logit_lens(llm, "The capital of France is")
    """
    found = llm.trace(prompt, ["blk.0.resid_pre", "blk.*.resid_post"], logits=None)
    n = len(found.ids)
    top_ids = np.empty((len(found), n), np.int64)
    top_probabilities, following = np.empty((len(found), n)), np.empty((len(found), n - 1))
    for layer, residual in enumerate(found.values()):
        for i in range(0, n, ROWS):
            rows = log_softmax(llm.unembed(residual[i : i + ROWS]))
            best = rows.argmax(axis=1)
            top_ids[layer, i : i + ROWS] = best
            top_probabilities[layer, i : i + ROWS] = np.exp(rows[np.arange(len(rows)), best])
            targets = found.ids[i + 1 : i + 1 + len(rows)]
            following[layer, i : i + len(targets)] = rows[np.arange(len(targets)), targets]
    texts = [[token_text(llm, token_id) for token_id in row] for row in top_ids.tolist()]
    tokens = [token_text(llm, token_id) for token_id in found.ids.tolist()]
    return Lens(found.names, found.ids, tokens, top_ids, top_probabilities, texts, following)
