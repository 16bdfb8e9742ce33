"""The options of all commands that run a model, and the LLM that is made from them."""

import argparse
from inspect import signature
from pathlib import Path
from typing import Any, get_args

from ...engine.embedding.embedder import Pooling
from ...engine.llm import LLM
from ...kernels.attention.cache_type import CACHE_TYPES
from ...system.cores import listed_cpus
from ...system.placement import NumaStrategy

_ARGUMENTS = signature(LLM).parameters.keys() - {"model"}


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds --ctx, --threads, --parallel, --pool, --draft, and what `add_executor_options` adds."""
    parser.add_argument(
        "-c",
        "--ctx",
        "--ctx-size",
        dest="n_ctx",
        type=int,
        metavar="N",
        help="tokens that fit in the context",
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
    """Adds --batch, --executor, --weights, --cache-type, --mlock, --numa, --cpu-affinity and
    --n-gpu-layers."""
    parser.add_argument(
        *("-b", "--batch", "--batch-size"),
        dest="n_batch",
        type=int,
        default=512,
        metavar="N",
        help="tokens that are run at a time (%(default)s)",
    )
    parser.add_argument(
        "--executor",
        choices=("numba", "reference"),
        default="numba",
        help="numba is fast; reference is simple",
    )
    add_weights_option(parser, "mapped ones stay in the file: for models larger than memory; slower")
    add_cache_type_option(parser, "what keys and values are stored as: q8_0 and q4_0 take less memory (f16)")
    parser.add_argument("--mlock", action="store_true", help="keep weights and cache in memory: no swapping")
    parser.add_argument(
        "--numa",
        choices=get_args(NumaStrategy),
        default="disabled",
        help="on machines with several nodes of memory: threads on all of them in turns, or on one",
    )
    parser.add_argument(
        "--cpu-affinity",
        type=_cpus,
        metavar="CPUS",
        help="the CPUs on which threads run, as in 0-3,8",
    )
    parser.add_argument(
        *("-ngl", "--n-gpu-layers", "--gpu-layers"),
        dest="n_gpu_layers",
        type=int,
        default=0,
        metavar="0",
        help="0: nybble runs on the CPU",
    )


def _cpus(text: str) -> list[int]:
    try:
        return sorted(listed_cpus(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers of CPUs, as in 0-3,8, not {text!r}") from None


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


def add_pooling_option(parser: argparse.ArgumentParser) -> None:
    """Adds --pooling."""
    parser.add_argument(
        "--pooling",
        choices=[name for name in get_args(Pooling) if name != "none"],
        help="how the vectors of the tokens become one (default: what the file says)",
    )


def add_chat_template_option(parser: argparse.ArgumentParser) -> None:
    """Adds --chat-template."""
    help = "a Jinja template in the place of the model's own"
    parser.add_argument("--chat-template", type=Path, metavar="FILE", help=help)


def open_llm(model: str | Path, args: argparse.Namespace, **others: Any) -> LLM:
    """The LLM of `model`, a name or path, with the options that a command has of those above; `others` take
    precedence."""
    return LLM(model, **{**engine_arguments(args), **others})


def engine_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `LLM` that a command has options for."""
    return {name: value for name, value in vars(args).items() if name in _ARGUMENTS}
