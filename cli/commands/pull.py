"""Fetches a model, checks its hash, and prints the path of its file.

MODEL is a name, or an address: hf:OWNER/REPO, with /FILE.gguf or :FORMAT (Q4_K_M, unless there is but one) if
there are several models in the repository; or https://…, with #sha256=… to check what comes. Models of
huggingface.co need the extra `hub` (pip install "nybble[hub]") and are kept in the hub's own cache; for those
that are gated or private, set HF_TOKEN, or run `hf auth login`. Of what has come already nothing is fetched
again, and a broken connection is taken up where it broke.
"""

import argparse

from ...hub.models import SOURCES, pull


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(f"{source.name} ({source.title})" for source in SOURCES.values())
    parser.add_argument("model", metavar="MODEL", help=f"an address, or one of: {names}")
    parser.add_argument("--alias", metavar="NAME", help="a further name for the model on this machine")


def run(args: argparse.Namespace) -> None:
    print(pull(args.model, alias=args.alias))
