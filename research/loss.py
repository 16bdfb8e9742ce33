"""How well a model predicts a text: the loss of each token, and the perplexity."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
    losses, places, ids = [], [], []
    parts = text_windows(llm, text, n_ctx, stride)[:max_windows]
    for window in progress(parts):
        logits = llm.trace(window.ids, logits=window.rows).logits
        for i in range(0, len(logits), ROWS):
            wanted = window.ids[window.first_scored :][i : i + ROWS]
            losses.append(-np.take_along_axis(log_softmax(logits[i : i + ROWS]), wanted[:, None], 1)[:, 0])
        places.append(window.places)
        ids.append(window.ids[window.first_scored :])
    return TextLoss(np.concatenate(losses), np.concatenate(places), np.concatenate(ids), len(parts))
