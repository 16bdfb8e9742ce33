"""The options that say what a generated text follows."""

import argparse
from pathlib import Path

from ...engine.grammar.json_data import MAX_LENGTH


def add_constraint_options(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each constraint of `SamplingParams`, of which one may be given."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--json-schema",
        "-j",
        type=file_or_text,
        metavar="FILE|TEXT",
        help="write JSON that is valid by a schema",
    )
    group.add_argument("--json-object", action="store_true", default=None, help="write a JSON object")
    group.add_argument(
        "--grammar", type=file_or_text, metavar="FILE|TEXT", help="follow a grammar, in GBNF or Lark"
    )
    group.add_argument("--regex", metavar="PATTERN", help="match a regular expression as a whole")
    group.add_argument(
        "--choice", action="append", metavar="TEXT", help="write one of these; may be repeated"
    )


def file_or_text(word: str) -> str:
    """The text of the file of this name, or the word itself if it has a brace, a colon or a line end, and
    there is no such file."""
    path = Path(word).expanduser()
    try:
        if not path.is_file() and any(mark in word for mark in "{:\n"):
            return word
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_LENGTH + 1)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {word[:100]!r}: {error}") from error
