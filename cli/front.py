"""Runs a command: finds it by its name, reads its options, and prints its errors."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import NybbleError, did_you_mean
from ..system.notices import be_quiet
from .option_names import in_options
from .parser import Parser
from .plain_text import plain
from .standard_streams import complain

_QUIET = "no notices, figures or bars on stderr"


def run(commands: Mapping[str, str], words: list[str]) -> int:
    """Runs the one of `commands` (name -> description) that `words` ask for; -> its exit code."""
    front = Parser(
        prog="nybble",
        description="Runs GGUF language models on the CPU in Python, NumPy and Numba alone.",
        epilog="commands:\n" + "\n".join(f"  {name:<12}{text}" for name, text in commands.items()),
        usage="nybble COMMAND [-h] ...",
    )
    front.add_argument("-V", "--version", action="store_true", help="show the version and end")
    front.add_argument("-q", "--quiet", action="store_true", help=_QUIET)
    front.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below, or help")
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    # Only words before the command are parsed here: its options may have the same names.
    n_front = next((i + 1 for i, word in enumerate(words) if not word.startswith("-")), len(words))
    args = front.parse_intermixed_args(words[:n_front])
    if args.version:
        from .. import __version__

        print(f"nybble {__version__}")
        return 0
    if args.command is None:
        front.print_help(sys.stderr)
        return 2
    if args.command not in commands:
        hint = did_you_mean(args.command, commands) or "; nybble help lists all"
        front.error(f"there is no command {args.command!r}{hint}")
    return _run_command(args.command, words[n_front:], args.quiet)


def _run_command(name: str, words: list[str], is_quiet: bool) -> int:
    command, parser = command_and_parser(name)
    args = parser.parse_intermixed_args(words)
    be_quiet(args.quiet or is_quiet)
    try:
        code: int | None = command.run(args)
    except NybbleError as error:
        complain(f"nybble: error: {plain(in_options(str(error), parser))}")
        return 1
    return code or 0


def command_and_parser(name: str) -> tuple[Any, Parser]:
    """The module of the command `name`, and the parser of its words."""
    command = importlib.import_module(f".commands.{name}", __package__)
    parser = Parser(prog=f"nybble {name}", description=command.__doc__)
    command.add_arguments(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help=_QUIET)
    return command, parser
