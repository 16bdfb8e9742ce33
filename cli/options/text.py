"""The options of commands that read a long text or draw a picture."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import RequestError
from ...research.plots import picture_formats
from ...research.windows import Window
from ...system.atomic_file import atomic_file
from ...system.notices import progress_bar


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Adds the text, its windows, and the form of the result."""
    add_file_option(parser)
    add_window_option(parser)
    parser.add_argument(
        "--stride", type=int, metavar="N", help="begin a window every N tokens, and score all tokens"
    )
    parser.add_argument("--windows", type=_positive, metavar="N", help="no more than so many windows")
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    add_plot_option(parser)


def add_file_option(parser: argparse.ArgumentParser) -> None:
    """Adds --file."""
    parser.add_argument("-f", "--file", metavar="TEXT", help="a text in UTF-8 (default: standard input)")


def add_window_option(parser: argparse.ArgumentParser) -> None:
    """Adds --window."""
    help = "tokens run together (512, or what the context holds)"
    parser.add_argument("-w", "--window", type=int, metavar="N", help=help)


def add_plot_option(parser: argparse.ArgumentParser) -> None:
    """Adds --plot."""
    parser.add_argument("--plot", metavar="PICTURE", help='a PNG, SVG or PDF (pip install "nybble[plot]")')


def window_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `text_loss` and `compare` that `add_text_options` has read."""
    return {"n_ctx": args.window, "stride": args.stride, "max_windows": args.windows, "progress": _bar}


def _bar(windows: list[Window]) -> Iterator[Window]:
    """The windows, with a progress bar on stderr."""
    with progress_bar(total=len(windows), unit="window") as progress:
        for window in windows:
            yield window
            progress.update()


def check_picture(name: str | None) -> None:
    """NybbleError, before hours of work, if no picture can be drawn, or not in the format of `name`."""
    if name is not None and _ending(name) not in picture_formats():
        raise RequestError(f"cannot write a picture to {name}; it may end with .png, .svg or .pdf")


def save_figure(figure: Any, name: str) -> None:
    """Writes a figure of matplotlib, in the format that the ending of `name` says."""
    with atomic_file(name) as file:
        figure.savefig(file, format=_ending(name), dpi=150, bbox_inches="tight")


def _ending(name: str) -> str:
    return Path(name).suffix.removeprefix(".").lower()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value
