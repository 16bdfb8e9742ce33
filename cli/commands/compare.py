"""Compares two models that have the same tokens, such as two quantizations of one, on a text.

A is the better one, or the original: the divergence is that of B from A.
"""

import argparse
import json

from ...research.comparison import Comparison, compare
from ...research.plots import plot_comparison
from ..options.engine import add_engine_options, open_llm
from ..options.text import add_text_options, check_picture, save_figure, window_options
from ..texts import read_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="a name, an address or the path of a file")
    parser.add_argument("b", metavar="B", help="another one")
    add_text_options(parser)
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    check_picture(args.plot)
    text = read_text(args.file)
    with open_llm(args.a, args) as a, open_llm(args.b, args) as b:
        found = compare(a, b, text, **window_options(args))
    if args.plot:
        save_figure(plot_comparison(found), args.plot)
    print(json.dumps(found.summary(), indent=2) if args.json else _report(found))


def _report(found: Comparison) -> str:
    kl = [("mean", found.mean_kl), *found.kl_quantiles.items()]
    lines = [
        f"scored tokens      {len(found.kl)}",
        f"perplexity of A    {found.loss_a.perplexity:.4f} +/- {found.loss_a.perplexity_error:.4f}",
        f"perplexity of B    {found.loss_b.perplexity:.4f} +/- {found.loss_b.perplexity_error:.4f}",
        f"ratio B / A        {found.perplexity_ratio:.5f} +/- {found.perplexity_ratio_error:.5f}",
        f"same top token     {found.top_agreement:.2%}",
        "divergence (KL of B from A, nats a token)",
        *(f"  {name:<16} {value:.6f}" for name, value in kl),
    ]
    if found.layer_errors:
        lines.append("error of the residual stream after each block (NMSE, mean of the tokens)")
        lines.extend(f"  {name:<16} {value:.3e}" for name, value in found.layer_errors.items())
    return "\n".join(lines)
