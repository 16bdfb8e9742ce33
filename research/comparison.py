"""Two models on the same text: the divergence of the second from the first, by token and by layer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.llm import LLM
from ..errors import RequestError
from ..gguf_io.display import Shown, brief
from .log_softmax import kl_divergence, log_softmax
from .loss import Progress, TextLoss, token_losses
from .windows import ROWS, Window, text_windows, window_size

QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "99.9 %": 0.999, "max": 1.0}
_RESIDUAL = re.compile(r"blk\.\d+\.resid_post")


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Model b against model a (the better one, or the original) on the scored tokens of a text."""

    kl: NDArray[np.float64]
    """(n,): Σ p_a (log p_a - log p_b) at each scored token, in nats."""
    is_same_top: NDArray[np.bool_]
    """(n,): is the most probable token of both models the same?"""
    loss_a: TextLoss
    """Its `tokens` and `places` are the scored tokens."""
    loss_b: TextLoss
    layer_errors: dict[str, float]
    """By block, "blk.3.resid_post": Σ (a - b)^2 / Σ a^2 of the residual stream after it (NMSE), averaged over
    the tokens. So all have the same weight, though the first is often a thousand times larger."""

    @property
    def mean_kl(self) -> float:
        """The mean KL divergence of b from a, in nats."""
        return float(self.kl.mean())

    @property
    def kl_quantiles(self) -> dict[str, float]:
        """Quantiles of the KL divergence, in nats, by their names ("median", "99 %")."""
        return {name: float(np.quantile(self.kl, q)) for name, q in QUANTILES.items()}

    @property
    def top_agreement(self) -> float:
        """The share of positions where the most probable token of both models is the same."""
        return float(self.is_same_top.mean())

    @property
    def perplexity_ratio(self) -> float:
        """The perplexity of b divided by that of a."""
        return float(np.exp(self.loss_b.mean - self.loss_a.mean))

    @property
    def perplexity_ratio_error(self) -> float:
        """The standard error of the ratio, from the differences of losses: those of both are correlated."""
        difference = self.loss_b.losses - self.loss_a.losses
        return float(self.perplexity_ratio * difference.std() / np.sqrt(max(len(difference) - 1, 1)))

    def _facts(self) -> dict[str, str]:
        return {
            "scored": f"{len(self.kl)} tokens",
            "kl": f"mean {self.mean_kl:.4g}, 99 % {self.kl_quantiles['99 %']:.4g} nats",
            "same_top": f"{self.top_agreement:.1%}",
            "perplexity": f"{self.loss_a.perplexity:.4g} and {self.loss_b.perplexity:.4g}",
            "layer_errors": brief(self.layer_errors),
        }

    def summary(self) -> dict[str, Any]:
        """All figures, as an object for JSON."""
        return {
            "n_tokens": len(self.kl),
            "kl": {"mean": self.mean_kl, **self.kl_quantiles},
            "top_agreement": self.top_agreement,
            "perplexity_a": self.loss_a.perplexity,
            "perplexity_b": self.loss_b.perplexity,
            "perplexity_ratio": self.perplexity_ratio,
            "perplexity_ratio_error": self.perplexity_ratio_error,
            "layer_nmse": self.layer_errors,
        }


def compare(
    a: LLM,
    b: LLM,
    text: Prompt,
    *,
    n_ctx: int | None = None,
    stride: int | None = None,
    max_windows: int | None = None,
    progress: Progress = iter,
) -> Comparison:
    """Runs both models over the windows of `text` (see `text_loss`), with memory for one window.

    Residual streams are compared if both models have the same. Raises RequestError if the two do not have the
    same tokens, and what `text_loss` raises.
    """
    n_ctx = window_size(n_ctx, a, b)
    parts = text_windows(a, text, n_ctx, stride)[:max_windows]
    _check_same_tokens(a, b, parts, text_windows(b, text, n_ctx, stride)[:max_windows])
    layers = _common_layers(a, b)
    errors: dict[str, list[NDArray[np.float64]]] = {name: [] for name in layers}
    rows: list[tuple[NDArray[Any], ...]] = []
    for window in progress(parts):
        trace_a, trace_b = (llm.trace(window.ids, layers, logits=window.rows) for llm in (a, b))
        for name in layers:
            errors[name].append(_relative_errors(trace_a[name], trace_b[name]))
        for i in range(0, len(trace_a.logits), ROWS):
            p, q = (log_softmax(trace.logits[i : i + ROWS]) for trace in (trace_a, trace_b))
            losses = (token_losses(x, window.scored_ids[i : i + ROWS]) for x in (p, q))
            rows.append((kl_divergence(p, q), p.argmax(1) == q.argmax(1), *losses))
    kl, is_same_top, *losses_of = (np.concatenate(column) for column in zip(*rows, strict=True))
    loss_a, loss_b = (TextLoss.of(losses, parts, a) for losses in losses_of)
    layer_errors = {name: float(np.concatenate(found).mean()) for name, found in errors.items()}
    return Comparison(kl, is_same_top, loss_a, loss_b, layer_errors)


def _relative_errors(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """a, b (n, width) -> Σ (a - b)^2 / Σ a^2 of each row (n,)."""
    x = a.astype(np.float64)
    sizes = np.square(x).sum(axis=1)
    errors: NDArray[np.float64] = np.square(x - b).sum(axis=1) / np.where(sizes, sizes, 1.0)
    return errors


def _check_same_tokens(a: LLM, b: LLM, parts_a: list[Window], parts_b: list[Window]) -> None:
    if a.config.n_vocab != b.config.n_vocab:
        raise RequestError(
            f"models can be compared only if they have the same tokens: {a.path} has {a.config.n_vocab},"
            f" {b.path} has {b.config.n_vocab}"
        )
    same = len(parts_a) == len(parts_b)
    if not same or not all(np.array_equal(x.ids, y.ids) for x, y in zip(parts_a, parts_b, strict=True)):
        raise RequestError(
            f"models can be compared only if they have the same tokens: {a.path} and {b.path} cut this text"
            " differently"
        )


def _common_layers(a: LLM, b: LLM) -> list[str]:
    """The residual streams after the blocks; none unless both models have the same names and widths."""
    widths_a, widths_b = (
        {name: spec.width for name, spec in llm.activations.items() if _RESIDUAL.fullmatch(name)}
        for llm in (a, b)
    )
    return list(widths_a) if widths_a == widths_b else []
