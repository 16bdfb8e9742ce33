"""The options that every command with a running model has, and the LLM that they ask for."""

import argparse

from ..engine.llm import LLM


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds context, threads, executor and weights."""
    parser.add_argument(
        "-c", "--ctx", dest="n_ctx", type=int, metavar="N", help="tokens that fit in the context"
    )
    add_threads_option(parser)
    add_executor_options(parser)


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Adds executor and weights."""
    parser.add_argument(
        "--executor",
        choices=("numba", "reference"),
        default="numba",
        help="numba is fast; reference is simple",
    )
    parser.add_argument(
        "--weights",
        choices=("packed", "mapped"),
        default="packed",
        help="mapped ones stay in the file: for models larger than memory; slower",
    )


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """Adds threads alone."""
    parser.add_argument(
        "-t", "--threads", dest="n_threads", type=int, metavar="N", help="threads (default: one per core)"
    )


def open_llm(model: str, args: argparse.Namespace, n_ctx: int | None = None) -> LLM:
    """The model called `model`, with the options of `add_engine_options`; `n_ctx` where they name none."""
    return LLM(
        model,
        n_ctx=n_ctx if args.n_ctx is None else args.n_ctx,
        n_threads=args.n_threads,
        executor=args.executor,
        weights=args.weights,
    )
