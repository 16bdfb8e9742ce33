"""The command `nybble`: finds the subcommand, and turns errors into one line and an exit code.

Each subcommand is a module here with `add_arguments(parser)` and `run(args)`, which may return an exit code;
its docstring is its help.
"""

import argparse
import faulthandler
import importlib
import os
import sys
from collections.abc import Sequence

from ..gguf_io.errors import NybbleError
from .plain_text import plain
from .termination import tidy_termination

COMMANDS = {
    "run": "continue a text",
    "pull": "fetch a model that has a name",
    "embed": "make vectors of texts, to be compared",
    "quantize": "write a model in another format",
    "inspect": "show what is in a GGUF file, and whether it can be run",
    "tokenize": "show the tokens of a text",
    "bench": "measure the speed of a model on this machine",
    "perplexity": "measure how well a model predicts a text",
    "compare": "measure how far one model is from another",
    "capture": "write a text's activations to files",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; -> its exit code: 0, 1 for an error or no, 130 for Ctrl-C, 141 if nobody reads on."""
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)  # a crash in a kernel shows where Python was
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with tidy_termination():
            code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at exit; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except (NybbleError, OSError, MemoryError) as error:
        message = plain(str(error)) or type(error).__name__
        print(f"nybble: error: {message}", file=sys.stderr)
        return 1
    return code


def _run(arguments: list[str]) -> int:
    front = argparse.ArgumentParser(
        prog="nybble",
        description="Runs GGUF language models on the CPU in Python, NumPy and Numba alone.",
        epilog="commands:\n" + "\n".join(f"  {name:<12}{text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="nybble COMMAND [-h] ...",
    )
    front.add_argument("--version", action="store_true", help="show the version and end")
    front.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    # Only what comes before the command is for us: options of the command may have the same names.
    n_front = next((i + 1 for i, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    args = front.parse_args(arguments[:n_front])
    if args.version:
        from .. import __version__

        print(f"nybble {__version__}")
        return 0
    if args.command is None:
        front.error("which command? (nybble --help)")
    command = importlib.import_module(f".{args.command}", __name__)
    parser = argparse.ArgumentParser(
        prog=f"nybble {args.command}",
        description=command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    # Intermixed, so that `run smollm2 -n 5 "a text"` works: options may stand between the words.
    return command.run(parser.parse_intermixed_args(arguments[n_front:])) or 0
