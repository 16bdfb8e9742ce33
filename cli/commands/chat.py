"""Talks with a model: what you type are questions, and its answers come as they are made.

MODEL is a name, an address or the path of a GGUF file; without it it is SmolLM2.  /help lists the commands
that may be typed.  Where standard input is no terminal, its lines are the questions, and the answers are all
that stdout gets.  A file without a chat template gets one that suits its vocabulary, which is said.

With the extra `chat` (pip install "nybble[chat]") answers are shown as Markdown, and what was typed can be
edited in several lines, and called back another day.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

from ...engine.sampling.params import SamplingParams
from ...system.notices import say
from ..chat.loop import converse
from ..chat.reader import piped_line, typed_line
from ..chat.screen import Screen, has_styles
from ..chat.session import Session
from ..chat.slash import COMMANDS
from ..front import command_and_parser
from ..options.engine import add_chat_template_option, add_engine_options, open_llm
from ..options.model import DEFAULT_MODEL
from ..options.sampling import add_sampling_options, sampling_params
from ..texts import unicode_of

_MAX_TOKENS, _LOOP = 2048, 128
_PARAMS = SamplingParams(temperature=0.5, min_p=0.1)
"""For a file that recommends nothing: answers that vary a little, and do not go round in circles."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL")
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    parser.add_argument("--load", metavar="FILE", help="go on with a conversation that /save has written")
    parser.add_argument("--plain", action="store_true", help="no Markdown, no editor: as without the extra")
    add_chat_template_option(parser)
    add_sampling_options(parser)
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    system = None if args.system is None else unicode_of(args.system)
    with open_llm(args.model, args) as llm:
        recommended = llm.default_sampling_params()
        base = _PARAMS if recommended == SamplingParams() else recommended
        session = Session(
            llm,
            sampling_params(args, replace(base, max_tokens=_MAX_TOKENS, repetition_detection=_LOOP)),
            system,
        )
        if args.load is not None:
            say(f"{session.load(args.load)} messages loaded")
        _, parser = command_and_parser("chat")
        if sys.stdin.isatty() and sys.stdout.isatty():
            info = llm.info
            say(f"{info.name}, {info.format}, n_ctx {llm.n_ctx}; /help lists commands, Ctrl-D ends")
        converse(session, _line(args.plain), _screen(args.plain), parser)


def _line(is_plain: bool) -> Callable[[bool], str]:
    """Where questions come from."""
    if not sys.stdin.isatty():
        return piped_line()
    if not is_plain and sys.stdout.isatty():
        try:
            from ..chat.editor import edited_line

            return edited_line([f"/{name}" for name in COMMANDS])
        except ImportError:
            say('with `pip install "nybble[chat]"` answers are Markdown, and questions can be edited')
    return typed_line()


def _screen(is_plain: bool) -> Screen:
    """Where answers go."""
    if not is_plain and has_styles():
        try:
            from ..chat.markdown_screen import MarkdownScreen

            return MarkdownScreen()
        except ImportError:
            pass  # `_line` has said it
    return Screen()
