"""Pictures of what the other files compute; each function gives a matplotlib figure (extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.errors import NybbleError

if TYPE_CHECKING:
    from ..engine.benchmark import Benchmark
    from .attribution import Attribution
    from .comparison import Comparison
    from .lens import Lens


def _figure(width: float, height: float) -> Any:
    """A figure that belongs to no window and needs no screen."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NybbleError(f'pictures need matplotlib: pip install "nybble[plot]" ({error})') from error
    return Figure(figsize=(width, height), layout="constrained")


def picture_formats() -> set[str]:
    """The endings of files that figures can be saved to: "png", "svg" …; NybbleError without matplotlib."""
    return set(_figure(1, 1).canvas.get_supported_filetypes())


def plot_loss(
    losses: NDArray[np.float64], places: NDArray[np.int64], labels: Sequence[str] | None = None
) -> Any:
    """The loss of each token over a text, (n,) in nats, and the mean so far. `labels`, the n
    tokens, give each a bar, where the text is short."""
    if labels is not None:
        figure = _figure(1.5 + 0.2 * len(losses), 3.5)
        axes = figure.subplots()
        axes.bar(places, losses, width=0.8)
        axes.set(ylabel="loss (nats)", xlim=(places[0] - 0.6, places[-1] + 0.6))
        axes.set_xticks(places, [_visible(label) for label in labels], fontsize=6, rotation=90)
        return figure
    figure = _figure(9, 3.5)
    axes = figure.subplots()
    axes.plot(places, losses, ".", markersize=2, alpha=0.4, label="token")
    axes.plot(places, np.cumsum(losses) / np.arange(1, len(losses) + 1), label="mean so far")
    axes.set(xlabel="token of the text", ylabel="loss (nats)")
    axes.legend()
    return figure


def plot_comparison(found: Comparison) -> Any:
    """How the divergence is spread over the tokens, and where in the layers two models part."""
    figure = _figure(9, 3.5)
    left, right = figure.subplots(1, 2)
    share = np.arange(1, len(found.kl) + 1) / len(found.kl)
    left.plot(np.sort(found.kl), share)
    left.set(xlabel="KL divergence (nats)", ylabel="share of tokens below")
    if found.kl.any():
        left.set_xscale("log")
    right.plot(list(found.layer_errors.values()), ".-")
    right.set(xlabel="block", ylabel="NMSE of the residual stream")
    if any(found.layer_errors.values()):
        right.set_yscale("log")
    return figure


def plot_lens(lens: Lens, labels: Sequence[str] | None = None) -> Any:
    """A map of layers (upwards) and tokens: colour is the probability of the layer's own best token, which is
    written in the cell. `labels` name the columns; without them it is the tokens of the text."""
    n_layers, n_tokens = lens.top_probabilities.shape
    figure = _figure(1.5 + 0.9 * n_tokens, 1.5 + 0.22 * n_layers)
    axes = figure.subplots()
    image = axes.imshow(lens.top_probabilities, aspect="auto", origin="lower", vmin=0, vmax=1, cmap="viridis")
    for layer in range(n_layers):
        for token in range(n_tokens):
            colour = "black" if lens.top_probabilities[layer, token] > 0.6 else "white"
            text = lens.top_tokens[layer][token]
            axes.text(token, layer, _visible(text), ha="center", va="center", fontsize=6, color=colour)
    _name_axis(axes.set_xticks, lens.tokens if labels is None else labels, rotation=45)
    _name_axis(axes.set_yticks, lens.names)
    figure.colorbar(image, label="probability of the best token")
    return figure


def plot_attention(probabilities: NDArray[np.float32], labels: Sequence[str], columns: int = 4) -> Any:
    """A grid of maps, one for each head: probabilities (n_tokens, n_heads, n_tokens), queries downwards."""
    n_heads = probabilities.shape[1]
    rows = -(-n_heads // columns)
    figure = _figure(3 * columns, 3 * rows)
    for head, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if head >= n_heads:
            axes.axis("off")
            continue
        axes.imshow(probabilities[:, head], vmin=0, vmax=1, cmap="Blues")
        axes.set_title(f"head {head}", fontsize=8)
        _name_axis(axes.set_xticks, labels, rotation=90)
        _name_axis(axes.set_yticks, labels)
    figure.supxlabel("key", fontsize=8)
    figure.supylabel("query", fontsize=8)
    return figure


def plot_attribution(found: Attribution, position: int = 0) -> Any:
    """What the parts of the model add to a logit, at one of the positions asked for: a bar for each half of
    each block, and, where heads were told apart, a map of layers (upwards) and heads."""
    shares = dict(zip(found.names, found.values[:, position].tolist(), strict=True))
    halves: dict[str, float] = {}
    for name, share in shares.items():
        half = f"{name.partition('.head.')[0]}.attn" if ".head." in name else name
        halves[half] = halves.get(half, 0.0) + share
    heads = {layer: values[:, position] for layer, values in found.heads.items()}
    figure = _figure(9 if heads else 5, 1.5 + 0.11 * len(halves))
    left, *right = figure.subplots(1, 2 if heads else 1, squeeze=False)[0]
    colours = ["tab:orange" if name.endswith(".ffn") else "tab:blue" for name in halves]
    left.barh(range(len(halves)), list(halves.values()), color=colours)
    left.axvline(0, color="black", linewidth=0.5)
    _name_axis(left.set_yticks, list(halves))
    left.set(xlabel="adds to the logit", ylim=(-1, len(halves)))
    for axes in right:
        table = np.full((len(heads), max(map(len, heads.values()))), np.nan)
        for row, values in enumerate(heads.values()):
            table[row, : len(values)] = values
        limit = float(np.nanmax(np.abs(table))) or 1.0
        image = axes.imshow(table, aspect="auto", origin="lower", cmap="RdBu", vmin=-limit, vmax=limit)
        axes.set(xlabel="head", ylabel="layer")
        _name_axis(axes.set_xticks, [str(head) for head in range(table.shape[1])])
        _name_axis(axes.set_yticks, [str(layer) for layer in heads])
        figure.colorbar(image, label="adds to the logit")
    return figure


def plot_sweep(
    effects: NDArray[np.float64], names: Sequence[str], labels: Sequence[str] | None = None
) -> Any:
    """A map of what patching did: effects (n_names, n_columns); 1 is all of the difference, 0 none of it.
    `labels` name the columns, as tokens; without them they are heads."""
    figure = _figure(1.5 + 0.5 * effects.shape[1], 1.5 + 0.2 * len(names))
    axes = figure.subplots()
    limit = float(np.nanmax(np.abs(effects))) or 1.0
    image = axes.imshow(effects, aspect="auto", origin="lower", cmap="RdBu", vmin=-limit, vmax=limit)
    if labels is None:
        axes.set(xlabel="head")
        _name_axis(axes.set_xticks, [str(head) for head in range(effects.shape[1])])
    else:
        _name_axis(axes.set_xticks, labels, rotation=45)
    _name_axis(axes.set_yticks, names)
    figure.colorbar(image, label="share of the difference that comes back")
    return figure


def plot_speeds(found: Sequence[Benchmark]) -> Any:
    """Benchmarks side by side: a bar for each test of each model and number of threads, and the spread of its
    repetitions; prefill on the left, decode on the right."""
    phases = sorted({speed.test.phase for benchmark in found for speed in benchmark.speeds}, reverse=True)
    figure = _figure(5 * len(phases), 1.5 + 0.25 * sum(len(benchmark.speeds) for benchmark in found))
    for axes, phase in zip(figure.subplots(1, len(phases), squeeze=False)[0], phases, strict=True):
        bars = [(b, s) for b in found for s in b.speeds if s.test.phase == phase]
        medians = np.array([speed.median for _, speed in bars])
        lowest, highest = np.array([(speed.slowest, speed.fastest) for _, speed in bars]).T
        axes.barh(
            range(len(bars)), medians, xerr=(medians - lowest, highest - medians), height=0.6, capsize=2
        )
        names = [
            f"{Path(b.model).stem} -t {b.n_threads}: {s.test.n_tokens} tokens"
            + (f" at {s.test.depth}" if s.test.depth else "")
            for b, s in bars
        ]
        axes.set_yticks(range(len(bars)), names, fontsize=6)
        axes.set(title=phase, xlabel="tokens a second (median, slowest to fastest)", xlim=(0, None))
        axes.invert_yaxis()
    return figure


def _name_axis(set_ticks: Any, labels: Sequence[str], **options: Any) -> None:
    set_ticks(range(len(labels)), [_visible(label) for label in labels], fontsize=6, **options)


def _visible(text: str) -> str:
    """With spaces and control characters that can be seen, and nothing that is taken for mathematics."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown.replace("$", r"\$").replace(" ", "\N{OPEN BOX}")
