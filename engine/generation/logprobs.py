"""Log-probabilities of tokens, as the model gives them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...gguf_io.display import Shown
from ...kernels.sampling.reference import top_k_reference
from ...tokenizer import IdsOnly, Tokenizer
from ..executors.base import Array
from .chat_tokenizer import ChatTokenizer


@dataclass(frozen=True, repr=False)
class TokenLogprob(Shown):
    """A token, and how probable it was at its place.  Names are those of the OpenAI API."""

    token: str
    """Its text; bytes that are part of a character only are U+FFFD. Control tokens have their names."""
    token_id: int
    logprob: float
    """The natural logarithm of its probability: the log-softmax, in float64, of the logits as the model gives
    them, before masks, logit bias, samplers and temperature."""
    bytes: list[int]
    """Those of its text."""
    top_logprobs: list[TokenLogprob]
    """The most probable tokens at this place, the first one first; whether this one is among them or not."""

    def _facts(self) -> dict[str, str]:
        top = ", ".join(f"{each.token!r} {each.logprob:.3f}" for each in self.top_logprobs)
        return {"token": repr(self.token), "logprob": f"{self.logprob:.4f}", "top": top}


def token_logprob(
    tokenizer: Tokenizer | IdsOnly | ChatTokenizer, logits: Array, token_id: int, n_top: int
) -> TokenLogprob:
    """The entry of a token, with the `n_top` most probable ones, by the `logits` (n_vocab,) of its place."""
    differences = logits.astype(np.float64) - float(logits.max())
    log_total = math.log(np.exp(differences).sum())

    def entry(id_: int, top: list[TokenLogprob]) -> TokenLogprob:
        raw = b"" if isinstance(tokenizer, IdsOnly) else tokenizer.token_bytes(id_, skip_special_tokens=False)
        return TokenLogprob(
            raw.decode(errors="replace"), id_, float(differences[id_]) - log_total, [*raw], top
        )

    best = top_k_reference(logits, n_top) if n_top else np.empty(0, np.intp)
    best = best[np.argsort(-logits[best], kind="stable")]
    return entry(token_id, [entry(int(id_), []) for id_ in best if logits[id_] > -np.inf])
