"""Fetches a model that has a name into the user's cache folder, checks it, and prints its path."""

import argparse

from ...hub.models import SOURCES, pull


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(f"{source.name} ({source.title})" for source in SOURCES.values())
    parser.add_argument("name", metavar="NAME", help=f"one of: {names}")


def run(args: argparse.Namespace) -> None:
    print(pull(args.name))
