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
from .windows import ROWS, Window, text_windows

Progress = Callable[[list[Window]], Iterable[Window]]


@dataclass(frozen=True, repr=False)
class TextLoss(Shown):
    """The loss of the scored tokens of a text, in nats."""

    losses: NDArray[np.float64]
    """(n,): -log of the probability that the model gave to each scored token."""
    places: NDArray[np.int64]
    """(n,): where in the text these tokens are."""
    ids: NDArray[np.int32]
    """(n,): which they are."""
    tokens: list[str]
    """(n,): their texts."""
    n_windows: int
    n_ctx: int
    """How many tokens a window has."""

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
        """Of the mean loss, as if tokens were independent."""
        return float(self.losses.std() / np.sqrt(max(len(self.losses) - 1, 1)))

    @property
    def perplexity(self) -> float:
        """e to the mean loss."""
        return float(np.exp(self.mean))

    @property
    def perplexity_error(self) -> float:
        """The standard error of the perplexity (of first order, as llama.cpp gives it)."""
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

    Windows of n_ctx tokens, by default 512, or fewer where the context holds no more: see `windows.windows`;
    with 512 and no stride the figures are comparable with llama.cpp's `llama-perplexity`. One window after
    another is run and let go, so that a text may be long. `progress` may wrap the list of windows (`tqdm`).
    Raises RequestError as `windows` and `LLM.trace`, and for windows larger than the context.
    """
    losses = []
    parts = text_windows(llm, text, n_ctx, stride)[:max_windows]
    for window in progress(parts):
        logits = llm.trace(window.ids, logits=window.rows).logits
        for i in range(0, len(logits), ROWS):
            log_probs = log_softmax(logits[i : i + ROWS])
            losses.append(token_losses(log_probs, window.scored_ids[i : i + ROWS]))
    return TextLoss.of(np.concatenate(losses), parts, llm)


def token_losses(log_probs: NDArray[np.float64], ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """log_probs (n, n_vocab), ids (n,) -> the loss of each token (n,)."""
    return -np.take_along_axis(log_probs, ids[:, None], 1)[:, 0]
