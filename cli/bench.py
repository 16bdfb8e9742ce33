"""Measures the speed of a model on this machine.  MODEL is a name or the path of a GGUF file."""

import argparse
import dataclasses
import json

from ..engine.benchmark import Benchmark, measure
from .engine_options import add_engine_options, open_llm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument(
        "-p", "--prompt", type=int, default=512, metavar="N", help="tokens at once (%(default)s)"
    )
    parser.add_argument(
        "-n", "--decode", type=int, default=64, metavar="N", help="then one by one (%(default)s)"
    )
    parser.add_argument(
        "-r", "--repeat", type=int, default=3, metavar="N", help="median of so many (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    with open_llm(args.model, args, max(args.prompt + args.decode, 1)) as llm:
        result = measure(llm, args.prompt, args.decode, args.repeat)
    print(json.dumps(dataclasses.asdict(result), indent=2) if args.json else _report(result))


def _report(result: Benchmark) -> str:
    return "\n".join(
        [
            f"{result.model}, {result.executor} executor, {result.n_threads} threads",
            f"  prefill  {result.prefill_tokens_per_second:8.1f} tokens/s  ({result.n_prompt} tokens)",
            f"  decode   {result.decode_tokens_per_second:8.1f} tokens/s  ({result.n_decode} tokens)",
            f"  weights  {result.weight_bytes_per_token / 1e6:8.1f} MB a token,"
            f" read at {result.decode_bandwidth_gb_per_second:.1f}"
            f" of {result.stream_bandwidth_gb_per_second:.1f} GB/s",
            f"  loading  {result.load_seconds:8.2f} s, compiling {result.compile_seconds:.2f} s",
        ]
    )
