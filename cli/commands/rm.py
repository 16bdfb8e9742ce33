"""Removes models from this machine, by the names that `nybble list` shows; of an alias, the name alone.

Files of Ollama, and those that lie elsewhere, are left to the programs that brought them.
"""

import argparse

from ...hub.local_models import remove_model
from ...system.notices import say
from ..tables import size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL")


def run(args: argparse.Namespace) -> None:
    for name in args.models:
        say(f"{name} is removed; {size(remove_model(name))} are free again")
