"""Activation patching: which activations make one prompt's answer differ from another's.

Source: Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv:2202.05262); Heimersheim &
Nanda 2024, "How to use and interpret activation patching" (arXiv:2404.15255).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.hooks.taps import Edit, EditInfo
from ..engine.llm import LLM
from ..engine.tracing.trace import Trace
from ..errors import RequestError
from ..gguf_io.display import Shown, brief
from .tokens import token_id, token_text

Metric = Callable[[NDArray[np.float32]], float]


@dataclass(frozen=True, repr=False)
class Sweep(Shown):
    """The effect on a metric of patching each activation at each position."""

    names: list[str]
    effects: NDArray[np.float64]
    """(n_names, n_tokens): 0 as in the corrupted run, 1 as in the clean one."""
    clean: float
    corrupted: float
    """The metric of the two runs."""
    tokens: list[str]
    """(n_tokens,): the tokens of the clean prompt."""

    def _facts(self) -> dict[str, str]:
        row, at = np.unravel_index(np.abs(self.effects).argmax(), self.effects.shape)
        return {
            "names": brief(self.names),
            "tokens": brief(self.tokens),
            "effects": brief(self.effects),
            "clean": brief(self.clean),
            "corrupted": brief(self.corrupted),
            "most": f"{self.effects[row, at]:.3g} of {self.names[row]} at token {at}, {self.tokens[at]!r}",
        }


def patch_sweep(
    llm: LLM,
    clean: Prompt,
    corrupted: Prompt,
    metric: Metric,
    names: str | Sequence[str] = "blk.*.resid_pre",
    progress: Callable[[list[Any]], Iterable[Any]] = iter,
) -> Sweep:
    """Measures how much each activation of `names` at each position restores the answer to `clean`.

    For each, `corrupted` is run once with this value taken from the run of `clean`. `metric`, such as
    `logit_difference`, takes the last token's logits (n_vocab,).

        metric = research.logit_difference(llm, " Paris", over=" Rome")
        clean, corrupted = "The capital of France is", "The capital of Italy is"
        sweep = research.patch_sweep(llm, clean, corrupted, metric, names="blk.9.resid_pre")

    Positions before the first token in which the prompts differ have no effect and are not run. Raises
    RequestError if the prompts have different numbers of tokens, or if the metric is equal for both, and what
    `LLM.trace` raises.
    """
    source, base = run_both(llm, clean, corrupted, names)
    best, worst = metrics_of(source, base, metric)
    effects = np.zeros((len(source), len(source.ids)))
    first = int(np.argmax(source.ids != base.ids))
    places = [(row, name, at) for row, name in enumerate(source) for at in range(first, len(source.ids))]
    for row, name, at in progress(places):
        run = llm.trace(corrupted, edit={name: _put(source[name][at], at)}, logits="last")
        effects[row, at] = (metric(run.logits[0]) - worst) / (best - worst)
    tokens = [token_text(llm, id_) for id_ in source.ids.tolist()]
    return Sweep(source.names, effects, best, worst, tokens)


def logit_difference(llm: LLM, token: int | str, over: int | str) -> Metric:
    """A metric: the logit of `token` minus that of `over`, each given by its text (" Mary") or id.
    RequestError if there is no such token."""
    first, second = token_id(llm, token), token_id(llm, over)
    return lambda logits: float(logits[first] - logits[second])


def run_both(
    llm: LLM, clean: Prompt, corrupted: Prompt, names: str | Sequence[str], base_names: Sequence[str] = ()
) -> tuple[Trace, Trace]:
    """The clean run, with the activations of `names`, and the corrupted one, with those of `base_names`."""
    source = llm.trace(clean, names, logits="last")
    base = llm.trace(corrupted, base_names, logits="last")
    if len(source.ids) != len(base.ids):
        raise RequestError(
            f"prompts must have the same number of tokens to be patched: clean has {len(source.ids)},"
            f" corrupted {len(base.ids)}"
        )
    return source, base


def metrics_of(source: Trace, base: Trace, metric: Metric) -> tuple[float, float]:
    """The metric of the clean run and of the corrupted one; RequestError if they are equal."""
    best, worst = metric(source.logits[0]), metric(base.logits[0])
    if best == worst:
        raise RequestError(f"the metric gives {best} for both prompts: there is no difference to explain")
    return best, worst


def _put(value: NDArray[np.float32], position: int) -> Edit:
    def edit(values: NDArray[np.float32], info: EditInfo) -> None:
        values[info.positions == position] = value

    return edit
