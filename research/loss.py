"""How well a model predicts a text: the loss of each token, and the perplexity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.llm import LLM
from ..gguf_io.display import Shown
from .log_softmax import log_softmax
from .tokens import token_text
from .windows import ROWS, Window, text_windows, together

Progress = Callable[[list[Window]], Iterable[Window]]


@dataclass(frozen=True, repr=False)
class TextLoss(Shown):
    """The loss of the scored tokens of a text, in nats."""

    losses: NDArray[np.float64]
    """(n,): -log of the probability that the model gave to each scored token."""
    places: NDArray[np.int64]
    """(n,): the positions of these tokens in the text."""
    ids: NDArray[np.int32]
    """(n,)"""
    tokens: list[str]
    """(n,): their texts."""
    n_windows: int
    n_ctx: int
    """Tokens of a window."""

    @classmethod
    def of(cls, losses: NDArray[np.float64], windows: list[Window], llm: LLM) -> Self:
        """The losses (n,) of all scored tokens of `windows`."""
        places = np.concatenate([window.places for window in windows])
        ids = np.concatenate([window.scored_ids for window in windows])
        texts = {id_: token_text(llm, id_) for id_ in set(ids.tolist())}
        tokens = [texts[id_] for id_ in ids.tolist()]
        return cls(losses, places, ids, tokens, len(windows), len(windows[0].ids))

    @property
    def mean(self) -> float:
        """The mean loss, in nats a token."""
        return float(self.losses.mean())

    @property
    def standard_error(self) -> float:
        """The standard error of the mean loss, as if tokens were independent."""
        return float(self.losses.std() / np.sqrt(max(len(self.losses) - 1, 1)))

    @property
    def perplexity(self) -> float:
        """exp(mean loss)."""
        return float(np.exp(self.mean))

    @property
    def perplexity_error(self) -> float:
        """The standard error of the perplexity, to first order, as in llama.cpp."""
        return self.perplexity * self.standard_error

    def _facts(self) -> dict[str, str]:
        worst = int(self.losses.argmax())
        return {
            "scored": f"{len(self.losses)} tokens",
            "windows": f"{self.n_windows} x {self.n_ctx}",
            "mean": f"{self.mean:.4g} +/- {self.standard_error:.2g} nats",
            "perplexity": f"{self.perplexity:.4g} +/- {self.perplexity_error:.2g}",
            "highest": f"{self.losses[worst]:.3g} at token {self.places[worst]}, {self.tokens[worst]!r}",
        }


def text_loss(
    llm: LLM,
    text: Prompt,
    *,
    n_ctx: int | None = None,
    stride: int | None = None,
    max_windows: int | None = None,
    progress: Progress = iter,
) -> TextLoss:
    """The loss of every scored token of `text`, a text or token ids without BOS.

        text = "The cat sat on the mat, and the dog lay beside it."
        research.text_loss(llm, text, n_ctx=16).mean  # nats a token

    The text is run in windows of `n_ctx` tokens, by default 512, or fewer if the context is smaller. Without
    `stride` windows follow each other and the second half of each is scored: with 512 tokens the figures are
    comparable with llama.cpp's `llama-perplexity`. With a stride each window begins so many tokens after the
    one before, and every token is scored once. Memory is taken for one window, or some short ones, so a
    text may be long. `progress` may wrap the list of windows (`tqdm`).

    Raises RequestError for fewer than two tokens, for windows or strides that are too small or too large, and
    what `LLM.trace` raises.
    """
    losses = []
    parts = text_windows(llm, text, n_ctx, stride)[:max_windows]
    for group in together(progress(parts)):
        traces = llm.trace([window.ids for window in group], logits=group[0].rows)
        for window, trace in zip(group, traces, strict=True):
            for i in range(0, len(trace.logits), ROWS):
                log_probs = log_softmax(trace.logits[i : i + ROWS])
                losses.append(token_losses(log_probs, window.scored_ids[i : i + ROWS]))
    return TextLoss.of(np.concatenate(losses), parts, llm)


def token_losses(log_probs: NDArray[np.float64], ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """log_probs (n, n_vocab), ids (n,) -> the loss of each token (n,)."""
    return -np.take_along_axis(log_probs, ids[:, None], 1)[:, 0]
