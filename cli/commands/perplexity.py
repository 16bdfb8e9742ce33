"""Measures how well a model predicts a text.  MODEL is a name, an address or the path of a file.

With the defaults the figure is comparable with that of llama.cpp's llama-perplexity: windows of 512 tokens,
of which the second half is scored.  With --stride every token is scored.
"""

import argparse
import json

from ...research.loss import text_loss
from ...research.plots import plot_loss
from ..options.engine import add_engine_options, open_llm
from ..options.text import add_text_options, check_picture, save_figure, window_options
from ..texts import read_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    add_text_options(parser)
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    check_picture(args.plot)
    text = read_text(args.file)
    with open_llm(args.model, args) as llm:
        found = text_loss(llm, text, **window_options(args))
    if args.plot:
        save_figure(plot_loss(found.losses, found.places), args.plot)
    if args.json:
        names = ("perplexity", "perplexity_error", "mean", "standard_error", "n_windows", "n_ctx")
        figures = {name: getattr(found, name) for name in names}
        print(json.dumps({**figures, "n_tokens": len(found.losses)}, indent=2))
        return
    print(f"perplexity  {found.perplexity:.4f} +/- {found.perplexity_error:.4f}")
    print(f"loss        {found.mean:.4f} +/- {found.standard_error:.4f} nats a token")
    print(f"scored      {len(found.losses)} tokens in {found.n_windows} windows of {found.n_ctx}")
