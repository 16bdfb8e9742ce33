"""Path patching: the effect of an activation on the answer, or on later activations, by chosen paths only.

In a run of the corrupted prompt one head (or another activation) gets its value from the clean run, while
others are held at their corrupted values, so that no effect goes through them. Then the logits of this run
are measured; or the values of the receivers are put into another run of the corrupted prompt. Nothing is
estimated from gradients: each path is run.

Sources: Wang et al. 2022, "Interpretability in the Wild" (arXiv:2211.00593), section 3; Goldowsky-Dill et al.
2023, "Localizing Model Behavior with Path Patching" (arXiv:2304.05969).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.hooks.activations import ActivationSpec, find_activations
from ..engine.hooks.taps import Edit, EditInfo
from ..engine.llm import LLM
from ..errors import RequestError
from ..gguf_io.display import Shown, brief
from .patching import Metric, metrics_of, run_both

Array = NDArray[np.float32]
Receiver = str | tuple[str, int]


@dataclass(frozen=True, repr=False)
class PathSweep(Shown):
    """The effect on a metric of patching each sender, by the chosen paths."""

    names: list[str]
    effects: NDArray[np.float64]
    """(n_names, n_heads): 0 as in the corrupted run, 1 as in the clean one; in the first column if a sender
    has no heads, NaN where it has fewer heads than others."""
    clean: float
    corrupted: float
    """The metric of the two runs."""

    def _facts(self) -> dict[str, str]:
        row, head = np.unravel_index(np.nanargmax(np.abs(self.effects)), self.effects.shape)
        return {
            "names": brief(self.names),
            "effects": brief(self.effects),
            "clean": brief(self.clean),
            "corrupted": brief(self.corrupted),
            "most": f"{self.effects[row, head]:.3g} of {self.names[row]}, head {head}",
        }


def path_patch_sweep(
    llm: LLM,
    clean: Prompt,
    corrupted: Prompt,
    metric: Metric,
    senders: str | Sequence[str] = "blk.*.attn_heads",
    receivers: Sequence[Receiver] = (),
    *,
    frozen: Sequence[str] = ("blk.*.attn_heads",),
    positions: Sequence[int] | None = None,
    progress: Callable[[list[Any]], Iterable[Any]] = iter,
) -> PathSweep:
    """Measures the effect of each head of the `senders` on the answer, by chosen paths.

    Patches each head (or all of a sender without heads) at `positions` (default: all). `metric` takes the
    last token's logits (n_vocab,).

        metric = research.logit_difference(llm, " Paris", over=" Rome")
        clean, corrupted = "The capital of France is", "The capital of Italy is"
        sweep = research.path_patch_sweep(llm, clean, corrupted, metric, "blk.9.attn_heads", positions=[3])

    Without `receivers` the paths end at the logits; else at these activations, or heads of them, such as
    ("blk.9.q_rope", 3). The `frozen` activations, except the sender and the receivers, keep their corrupted
    values. By default these are all heads, so that paths lead through feed-forward layers only; with
    "blk.*.ffn_out" too, paths are direct; with nothing frozen this is activation patching by head.

    Raises RequestError if the prompts have different numbers of tokens, if the metric is equal for both, or
    if no sender comes before a receiver, and what `LLM.trace` raises.
    """
    table, order = llm.activations, {name: i for i, name in enumerate(llm.activations)}
    ends = [end for receiver in receivers for end in _ends(table, receiver)]
    last = max((order[spec.name] for spec, _ in ends), default=len(order))
    sending = [spec for spec in _find(table, senders) if order[spec.name] < last]
    if not sending:
        raise RequestError("no sender is computed before a receiver: there is no path between them")
    held = [spec for spec in _find(table, frozen) if spec.name not in {end.name for end, _ in ends}]
    kept = [spec.name for spec in [*sending, *held]]
    source, base = run_both(llm, clean, corrupted, [spec.name for spec in sending], kept)
    best, worst = metrics_of(source, base, metric)
    chosen = np.arange(len(base.ids)) if positions is None else np.asarray(positions)
    runs = [(row, head) for row, spec in enumerate(sending) for head in range(_n_heads(spec))]
    effects = np.full((len(sending), max(_n_heads(spec) for spec in sending)), np.nan)
    for row, head in progress(runs):
        name, columns = sending[row].name, _columns(sending[row], head)
        value = base[name].copy()
        value[chosen, columns] = source[name][chosen, columns]
        edit = {spec.name: _put(base[spec.name]) for spec in held if spec.name != name} | {name: _put(value)}
        run = llm.trace(corrupted, [spec.name for spec, _ in ends], edit, logits="last")
        if ends:
            arrived: dict[str, Edit] = {}
            for spec, part in ends:
                arrived[spec.name] = _put(run[spec.name], part, arrived.get(spec.name))
            run = llm.trace(corrupted, edit=arrived, logits="last")
        effects[row, head] = (metric(run.logits[0]) - worst) / (best - worst)
    return PathSweep([spec.name for spec in sending], effects, best, worst)


def _find(table: Mapping[str, ActivationSpec], names: str | Sequence[str]) -> list[ActivationSpec]:
    """The activations that the names or patterns match, each once; RequestError if one has no fixed width."""
    patterns = [names] if isinstance(names, str) else names
    found = {spec.name: spec for pattern in patterns for spec in find_activations(table, pattern)}
    wide = [name for name, spec in found.items() if spec.width is None]
    if wide:
        raise RequestError(f"{wide[0]} cannot be patched by head; take attn_heads")
    return list(found.values())


def _ends(table: Mapping[str, ActivationSpec], receiver: Receiver) -> list[tuple[ActivationSpec, slice]]:
    """The activations of a receiver, and their columns."""
    if isinstance(receiver, str):
        return [(spec, slice(None)) for spec in _find(table, receiver)]
    name, head = receiver
    specs = _find(table, name)
    for spec in specs:
        if not 0 <= head < _n_heads(spec):
            raise RequestError(f"{spec.name} has {_n_heads(spec)} heads; there is no head {head!r:.100}")
    return [(spec, _columns(spec, head)) for spec in specs]


def _n_heads(spec: ActivationSpec) -> int:
    return int(spec.dims[0]) if len(spec.dims) == 2 else 1


def _columns(spec: ActivationSpec, head: int) -> slice:
    width = int(spec.dims[-1])
    return slice(head * width, (head + 1) * width)


def _put(kept: Array, columns: slice = slice(None), before: Edit | None = None) -> Edit:
    """An edit that replaces some columns by `kept`, whose rows are positions, after the edit `before`."""

    def edit(values: Array, info: EditInfo) -> None:
        if before is not None:
            before(values, info)
        values[:, columns] = kept[info.positions, columns]

    return edit
