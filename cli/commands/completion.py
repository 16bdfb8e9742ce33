"""Prints a script with which a shell completes the words of nybble's command line: commands, options, and the
values of those that have few.

bash:  nybble completion bash > ~/.local/share/bash-completion/completions/nybble
zsh:   nybble completion zsh > ~/.zfunc/_nybble        (with fpath+=~/.zfunc before compinit)
fish:  nybble completion fish > ~/.config/fish/completions/nybble.fish
"""

import argparse

from ...errors import RequestError, did_you_mean
from ...hub.models import SOURCES
from .. import COMMANDS
from ..front import command_and_parser
from ..shells import SHELLS, completion_script, options_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def run(args: argparse.Namespace) -> None:
    if args.shell not in SHELLS:
        hint = did_you_mean(args.shell, SHELLS) or f"; there are {', '.join(SHELLS)}"
        raise RequestError(f"there is no script for {args.shell!r}{hint}")
    options = {name: options_of(command_and_parser(name)[1]) for name in COMMANDS}
    print(completion_script(args.shell, COMMANDS, options, SOURCES), end="")
