"""The command `nybble`.

Each subcommand is a module in `commands` with `add_arguments(parser)` and `run(args)`, which may return an
exit code; its docstring is its help.  The `dest` of an option is the argument's name in Python, where it has
one there.
"""

import faulthandler
import sys
from collections.abc import Sequence

from .plain_text import plain
from .standard_streams import abandon_unwritable, complain, open_streams
from .termination import tidy_termination

COMMANDS = {
    "run": "answer a prompt, or continue a text",
    "chat": "talk with a model",
    "serve": "serve models over HTTP, by the API of OpenAI and others",
    "batch": "answer a file of requests, and write a file of results",
    "verify": "make a text again from its receipt, and compare",
    "completion": "print a script by which a shell completes command lines",
    "doctor": "show what this machine offers to models, and what to change",
    "pull": "fetch a model by its name or address",
    "list": "list the models on this machine",
    "rm": "remove models from this machine",
    "compile": "compile what a model needs, to be kept in an image",
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
    open_streams()
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)  # a crash in a kernel shows where Python was
    try:
        try:
            from .front import run  # this imports NumPy, which Ctrl-C may interrupt

            with tidy_termination():
                return run(COMMANDS, list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        complain("")
        return 130
    except (OSError, MemoryError) as error:
        complain(f"nybble: error: {plain(_message(error))}")
        return 1
    finally:
        abandon_unwritable()


def _message(error: OSError | MemoryError) -> str:
    if isinstance(error, OSError) and error.strerror:  # without its number
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
