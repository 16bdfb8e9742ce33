"""The options of all commands that run a model, and the LLM that is made from them."""

import argparse

from ...engine.llm import LLM
from ...kernels.attention.cache_type import CACHE_TYPES


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds --ctx, --threads, --executor, --weights, --cache-type, --parallel, --pool and --draft."""
    parser.add_argument(
        "-c", "--ctx", dest="n_ctx", type=int, metavar="N", help="tokens that fit in the context"
    )
    add_threads_option(parser)
    add_executor_options(parser)
    parser.add_argument(
        "--parallel", dest="n_seq_max", type=int, metavar="N", help="sequences that run side by side (32)"
    )
    parser.add_argument(
        "--pool",
        dest="n_pool_tokens",
        type=int,
        metavar="N",
        help="tokens that fit in the contexts of all sequences together (as many as in one)",
    )
    parser.add_argument(
        "--draft", metavar="MODEL", help='what drafts tokens: "ngram", or a smaller model of the vocabulary'
    )


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Adds --executor, --weights and --cache-type."""
    parser.add_argument(
        "--executor",
        choices=("numba", "reference"),
        default="numba",
        help="numba is fast; reference is simple",
    )
    add_weights_option(parser, "mapped ones stay in the file: for models larger than memory; slower")
    add_cache_type_option(parser, "what keys and values are stored as: q8_0 and q4_0 take less memory (f16)")


def add_weights_option(parser: argparse.ArgumentParser, help: str) -> None:
    """Adds --weights."""
    parser.add_argument("--weights", choices=("packed", "mapped"), default="packed", help=help)


def add_cache_type_option(parser: argparse.ArgumentParser, help: str) -> None:
    """Adds --cache-type, None if it is not given."""
    parser.add_argument("--cache-type", choices=tuple(CACHE_TYPES), help=help)


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """Adds --threads."""
    parser.add_argument(
        "-t", "--threads", dest="n_threads", type=int, metavar="N", help="threads (default: one per core)"
    )


def open_llm(model: str, args: argparse.Namespace) -> LLM:
    """The LLM of `model`, a name or path, with the options of `add_engine_options`."""
    return LLM(
        model,
        n_ctx=args.n_ctx,
        n_threads=args.n_threads,
        executor=args.executor,
        weights=args.weights,
        cache_type=args.cache_type,
        n_seq_max=args.n_seq_max,
        n_pool_tokens=args.n_pool_tokens,
        draft=args.draft,
        chat_template=getattr(args, "chat_template", None),  # an option of those commands that chat
    )
