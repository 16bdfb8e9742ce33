"""Pictures of the results of `research`; needs the extra `plot`.

Each function gives a matplotlib figure, which a notebook shows as the last line of a cell. `title` replaces
the default title; "" is no title.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NybbleError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..engine.benchmark import Benchmark
    from .attribution import Attribution
    from .comparison import Comparison
    from .lens import Lens

_LARGEST = 60  # inches
_LONGEST = 24  # characters of a label


def _figure(width: float, height: float, title: str = "") -> Figure:
    """A figure of this size in inches, 60 at most; NybbleError without matplotlib."""
    try:
        from .figure import NotebookFigure
    except ImportError as error:
        raise NybbleError(f'pictures need matplotlib: pip install "nybble[plot]" ({error})') from error
    figure = NotebookFigure(figsize=(min(width, _LARGEST), min(height, _LARGEST)), layout="constrained")
    if title:
        figure.suptitle(_drawable(title), fontsize=10)
    return figure


def picture_formats() -> set[str]:
    """The endings of files that figures can be saved to: "png", "svg" …; NybbleError without matplotlib."""
    return set(_figure(1, 1).canvas.get_supported_filetypes())


def plot_loss(
    losses: NDArray[np.float64],
    places: NDArray[np.int64],
    labels: Sequence[str] | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """The loss (n,) in nats of the tokens at `places` (n,) of a text, and the running mean; for a short text
    with `labels`, the n tokens, a bar for each."""
    if title is None:
        title = f"loss of {len(losses)} tokens, mean {np.mean(losses):.3f} nats"
    if labels is not None:
        figure = _figure(1.5 + 0.2 * len(losses), 3.5, title)
        axes = figure.subplots()
        axes.bar(places, losses, width=0.8)
        axes.set(xlabel="token of the text", ylabel="loss (nats)", xlim=(places[0] - 0.6, places[-1] + 0.6))
        axes.set_xticks(places, [_visible(label) for label in labels], fontsize=6, rotation=90)
        return figure
    figure = _figure(9, 3.5, title)
    axes = figure.subplots()
    axes.plot(places, losses, ".", markersize=2, alpha=0.4, label="token")
    axes.plot(places, np.cumsum(losses) / np.arange(1, len(losses) + 1), label="mean so far")
    axes.set(xlabel="token of the text", ylabel="loss (nats)")
    axes.legend()
    return figure


def plot_comparison(found: Comparison, *, title: str | None = None) -> Figure:
    """The distribution of the divergence over tokens, and the error after each block."""
    if title is None:
        title = (
            f"{len(found.kl)} tokens: mean KL {found.mean_kl:.4g} nats, same top {found.top_agreement:.1%}"
        )
    figure = _figure(9, 3.5, title)
    left, right = figure.subplots(1, 2)
    share = np.arange(1, len(found.kl) + 1) / len(found.kl)
    left.plot(np.sort(found.kl), share)
    left.set_title("divergence", fontsize=8)
    left.set(xlabel="KL divergence (nats)", ylabel="share of tokens below")
    if found.kl.any():
        left.set_xscale("log")
    right.plot(list(found.layer_errors.values()), ".-")
    right.set_title("error after each block", fontsize=8)
    right.set(xlabel="block", ylabel="NMSE of the residual stream")
    if any(found.layer_errors.values()):
        right.set_yscale("log")
    return figure


def plot_lens(lens: Lens, labels: Sequence[str] | None = None, *, title: str = "logit lens") -> Figure:
    """A map of layers (upwards) and tokens: the colour is the probability of the layer's best token, which is
    written in the cell. `labels` name the columns; default: the tokens of the text."""
    n_layers, n_tokens = lens.top_probabilities.shape
    figure = _figure(1.5 + 0.9 * n_tokens, 1.5 + 0.22 * n_layers, title)
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


def plot_attention(
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    columns: int = 4,
    *,
    title: str = "attention probabilities",
) -> Figure:
    """A grid of maps, one for each head: probabilities (n_tokens, n_heads, n_tokens), queries downwards."""
    n_heads = probabilities.shape[1]
    rows = -(-n_heads // columns)
    figure = _figure(3 * columns, 3 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for head, axes in enumerate(grid.flat):
        if head >= n_heads:
            axes.axis("off")
            continue
        image = axes.imshow(probabilities[:, head], vmin=0, vmax=1, cmap="Blues")
        axes.set_title(f"head {head}", fontsize=8)
        _name_axis(axes.set_xticks, labels, rotation=90)
        _name_axis(axes.set_yticks, labels)
    figure.supxlabel("key", fontsize=8)
    figure.supylabel("query", fontsize=8)
    figure.colorbar(image, ax=grid, label="attention probability", aspect=40)
    return figure


def plot_attribution(found: Attribution, position: int = 0, *, title: str | None = None) -> Figure:
    """The shares of the parts of a model in a logit, at `found.positions[position]`: a bar for each half of
    each block, and with shares of heads a map of layers (upwards) and heads."""
    shares = dict(zip(found.names, found.values[:, position].tolist(), strict=True))
    halves: dict[str, float] = {}
    for name, share in shares.items():
        half = f"{name.partition('.head.')[0]}.attn" if ".head." in name else name
        halves[half] = halves.get(half, 0.0) + share
    heads = {layer: values[:, position] for layer, values in found.heads.items()}
    if title is None:
        title = f"{found.logit}, after token {found.positions[position]}"
    figure = _figure(9 if heads else 5, 1.5 + 0.11 * len(halves), title)
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
        _signed_map(figure, axes, table, "adds to the logit")
        axes.set(xlabel="head", ylabel="layer")
        _name_axis(axes.set_xticks, list(map(str, range(table.shape[1]))))
        _name_axis(axes.set_yticks, list(map(str, heads)))
    return figure


def plot_sweep(
    effects: NDArray[np.float64],
    names: Sequence[str],
    labels: Sequence[str] | None = None,
    *,
    title: str = "effect of patching",
) -> Figure:
    """A map of the effects (n_names, n_columns) of patching: 1 restores all of the difference, 0 none.
    `labels` name the columns; default: the numbers of heads."""
    figure = _figure(2 + 0.5 * effects.shape[1], max(3, 1.5 + 0.2 * len(names)), title)
    axes = figure.subplots()
    _signed_map(figure, axes, effects, "share of the difference")
    if labels is None:
        axes.set(xlabel="head")
        _name_axis(axes.set_xticks, list(map(str, range(effects.shape[1]))))
    else:
        _name_axis(axes.set_xticks, labels, rotation=45)
    _name_axis(axes.set_yticks, names)
    return figure


def plot_speeds(found: Sequence[Benchmark], *, title: str = "") -> Figure:
    """Benchmarks side by side: a bar for each test of each model and number of threads, with the range of its
    repetitions; prefill on the left, decode on the right."""
    phases = sorted({speed.test.phase for benchmark in found for speed in benchmark.speeds}, reverse=True)
    height = 1.5 + 0.25 * sum(len(benchmark.speeds) for benchmark in found)
    figure = _figure(5 * len(phases), height, title)
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


def _signed_map(figure: Figure, axes: Any, values: NDArray[np.float64], label: str) -> None:
    """Draws values (n_rows, n_columns), whose row 0 is at the bottom, with white for 0."""
    limit = float(np.nanmax(np.abs(values))) or 1.0
    image = axes.imshow(values, aspect="auto", origin="lower", cmap="RdBu", vmin=-limit, vmax=limit)
    figure.colorbar(image, label=label)


def _name_axis(set_ticks: Any, labels: Sequence[str], **options: Any) -> None:
    set_ticks(range(len(labels)), [_visible(label) for label in labels], fontsize=6, **options)


def _visible(text: str) -> str:
    """A label with visible spaces, cut if it is long."""
    short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return _drawable(short.replace("\n", "\\n").replace(" ", "\N{OPEN BOX}"))


def _drawable(text: str) -> str:
    """`text` with escapes for unprintable characters, those without a glyph, and the $ of formulas; line
    breaks stay."""
    fonts = _fonts()
    shown = (
        c
        if c == "\n" or (c.isprintable() and any(f.get_char_index(ord(c)) for f in fonts))
        else ascii(c)[1:-1]
        for c in text
    )
    return "".join(shown).replace("$", r"\$")


def _fonts() -> list[Any]:
    """The fonts that matplotlib draws with: the first that has a glyph is used."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    paths = []
    for family in FontProperties().get_family():  # the user's choice
        try:
            paths.append(findfont(FontProperties(family=family), fallback_to_default=False))
        except ValueError:
            continue
    return [get_font(path) for path in paths or [findfont(FontProperties())]]
