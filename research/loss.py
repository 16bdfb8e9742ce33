"""How well a model predicts a text: the loss of each token, and the perplexity."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..engine.llm import LLM
from ..engine.prompt import Prompt
from .log_softmax import log_softmax
from .windows import ROWS, Window, text_windows

Progress = Callable[[list[Window]], Iterable[Window]]


@dataclass(frozen=True)
class TextLoss:
    """The loss of the scored tokens of a text, in nats."""

    losses: NDArray[np.float64]
    """(n,): -log of the probability that the model gave to each scored token."""
    places: NDArray[np.int64]
    """(n,): where in the text these tokens are."""
    ids: NDArray[np.int32]
    """(n,): which they are."""
    n_windows: int

    @classmethod
    def of(cls, losses: NDArray[np.float64], windows: list[Window]) -> Self:
        """The losses (n,) of all scored tokens of `windows`."""
        places = np.concatenate([window.places for window in windows])
        ids = np.concatenate([window.scored_ids for window in windows])
        return cls(losses, places, ids, len(windows))

    @property
    def mean(self) -> float:
        return float(self.losses.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean loss, as if tokens were independent."""
        return float(self.losses.std() / np.sqrt(max(len(self.losses) - 1, 1)))

    @property
    def perplexity(self) -> float:
        return float(np.exp(self.mean))

    @property
    def perplexity_error(self) -> float:
        """The standard error of the perplexity (of first order, as llama.cpp gives it)."""
        return self.perplexity * self.standard_error


def text_loss(
    llm: LLM,
    text: Prompt,
    *,
    n_ctx: int = 512,
    stride: int | None = None,
    max_windows: int | None = None,
    progress: Progress = iter,
) -> TextLoss:
    """The loss of every scored token of `text`, a text or token ids without BOS.

    Windows of n_ctx tokens: see `windows.windows`; with the defaults the figures are comparable with
    llama.cpp's `llama-perplexity`. One window after another is run and let go, so that a text may be long.
    `progress` may wrap the list of windows (`tqdm`). Raises RequestError as `windows` and `LLM.trace`.
    """
    losses = []
    parts = text_windows(llm, text, n_ctx, stride)[:max_windows]
    for window in progress(parts):
        logits = llm.trace(window.ids, logits=window.rows).logits
        for i in range(0, len(logits), ROWS):
            log_probs = log_softmax(logits[i : i + ROWS])
            losses.append(token_losses(log_probs, window.scored_ids[i : i + ROWS]))
    return TextLoss.of(np.concatenate(losses), parts)


def token_losses(log_probs: NDArray[np.float64], ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """log_probs (n, n_vocab), ids (n,) -> the loss of each token (n,)."""
    return -np.take_along_axis(log_probs, ids[:, None], 1)[:, 0]
