"""The options that every command with a running model has, and the LLM that they ask for."""

import argparse

from ..engine.llm import LLM


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds context, threads and executor."""
    parser.add_argument("-c", "--ctx", type=int, metavar="N", help="tokens that fit in the context")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="threads (default: one per core)")
    parser.add_argument(
        "--executor",
        choices=("numba", "reference"),
        default="numba",
        help="numba is fast; reference is simple",
    )


def open_llm(model: str, args: argparse.Namespace) -> LLM:
    """The model called `model`, with the options of `add_engine_options`."""
    return LLM(model, n_ctx=args.ctx, n_threads=args.threads, executor=args.executor)
