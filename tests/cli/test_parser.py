"""The parsers of all commands: words may begin with a dash, and errors name options for arguments."""

import argparse
import ast
import importlib
import re
from pathlib import Path

import pytest

import nybble
from nybble.cli import COMMANDS
from nybble.cli.option_names import in_options
from nybble.cli.parser import Parser

ROOT = Path(nybble.__file__).parent


def parser_of(command, kind=Parser):
    parser = kind(prog=command)
    importlib.import_module(f"nybble.cli.commands.{command}").add_arguments(parser)
    return parser


@pytest.mark.parametrize("text", ["-hello", "--foo", "-n is an option", "--", "-", "--help"])
@pytest.mark.parametrize("kind", [Parser, argparse.ArgumentParser])
def test_behind_two_dashes_all_are_words(text, kind):
    args = parser_of("run", kind).parse_intermixed_args(["-n", "2", "model", "--", text])
    assert (args.words, args.max_tokens) == (["model", text], 2)


WORDS = {
    "chat": ["-model"],
    "serve": ["-model"],
    "batch": ["-in", "-out"],
    "verify": ["-receipt"],
    "completion": ["-shell"],
    "doctor": [],
    "pull": ["-name"],
    "list": [],
    "rm": ["-model"],
    "compile": ["-model"],
    "quantize": ["-in", "-out", "-format"],
    "inspect": ["-file"],
    "bench": ["-model"],
    "compare": ["-a", "-b"],
    "embed": ["-model", "-text", "--text"],
    "tokenize": ["-model", "--text"],
    "perplexity": ["-model"],
    "run": ["-model", "--text"],
    "capture": ["-model"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_words_of_every_command_may_begin_with_a_dash(command):
    options = ["-a", "x", "-o", "y"] if command == "capture" else []
    found = vars(parser_of(command).parse_intermixed_args([*options, "--", *WORDS[command]])).values()
    taken = [word for value in found for word in (value if isinstance(value, list) else [value])]
    assert [word for word in taken if word in WORDS[command]] == WORDS[command]


def test_only_what_names_an_argument_is_replaced():
    parser = Parser()
    parser.add_argument("--weights")
    parser.add_argument("--force", dest="overwrite", action="store_true")
    for message, expected in [
        ('its weights; weights="mapped" or `weights`', "its weights; --weights mapped or --weights"),
        ("use overwrite=True", "use --force"),
        ("weights are damaged", "weights are damaged"),
        ("weights must be", "--weights must be"),
        ("n_ctx=5 and `trace`", "n_ctx=5 and `trace`"),
    ]:
        assert in_options(message, parser) == expected


def messages():
    """(place, text) of every text in a `raise` of the library."""
    for part in ("engine", "gguf_io", "research", "tokenizer"):
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    texts = [n.value for n in ast.walk(node.exc) if isinstance(n, ast.Constant)]
                    yield f"{path}:{node.lineno}", "".join(text for text in texts if isinstance(text, str))


def test_messages_mark_the_arguments_that_they_name():
    """As NAME=, as `NAME`, or as the first word: so that a command can say its option instead."""
    options = {action.dest for command in COMMANDS for action in parser_of(command)._actions}
    names = "|".join(name for name in options if "_" in name)
    unmarked = re.compile(rf"(?<!\A)(?<![`\w.])({names})(?![`\w=])")
    found = [(place, text) for place, text in messages() if unmarked.search(text)]
    assert found == []
