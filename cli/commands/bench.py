"""Measures the speed of models on this machine.  MODEL is a name, an address or the path of a file.

As in llama.cpp's llama-bench a prompt ("prefill") and single tokens ("decode") are measured apart, each from
an empty cache, or after the tokens of --depth. Numbers may be lists: -t 1,2 -p 128,512 -d 0,4096.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from ...engine.benchmark import Benchmark, Phase, Speed, SpeedTest, busy_elsewhere, measure, share
from ...errors import RequestError
from ...hub.models import resolve
from ...research.plots import plot_speeds
from ...system.cores import default_threads
from ..options.engine import add_executor_options, open_llm
from ..options.text import add_plot_option, check_picture, save_figure
from ..standard_streams import complain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL")
    for option, name, field, default, text in (
        ("-p", "--prompt", "prompt", [512], "tokens at once; 0 leaves that out"),
        ("-n", "--decode", "decode", [128], "tokens one by one; 0 leaves that out"),
        ("-d", "--depth", "depth", [0], "tokens in the cache before"),
        ("-t", "--threads", "n_threads", [default_threads()], "threads"),
    ):
        help = f"{text} ({default[0]})"
        parser.add_argument(
            option, name, dest=field, type=_numbers, default=default, metavar="N,…", help=help
        )
    parser.add_argument(
        "-r", "--repeat", dest="repetitions", type=int, default=5, metavar="N", help="median of so many (5)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON array, for programs")
    form.add_argument("--csv", action="store_true", help="a line for each test, for spreadsheets")
    form.add_argument("--markdown", action="store_true", help="a table in Markdown")
    add_plot_option(parser)
    add_executor_options(parser)


def run(args: argparse.Namespace) -> None:
    check_picture(args.plot)
    phases: tuple[tuple[Phase, list[int]], ...] = (("prefill", args.prompt), ("decode", args.decode))
    tests = [
        SpeedTest(phase, n_tokens, depth)
        for depth in args.depth
        for phase, sizes in phases
        for n_tokens in sizes
        if n_tokens
    ]
    if not tests:
        raise RequestError("nothing to measure: --prompt and --decode are both 0")
    paths = [resolve(model) for model in args.models]  # a wrong name is found before an hour of work
    for warning in _warnings(args.n_threads):
        complain(f"nybble: warning: {warning}")
    n_ctx = max(test.depth + test.n_tokens for test in tests)
    found = []
    for path, n_threads in product(paths, args.n_threads):
        with open_llm(path, args, n_ctx=n_ctx, n_threads=n_threads) as llm:
            found.append(measure(llm, tests, args.repetitions))
    if args.plot:
        save_figure(plot_speeds(found), args.plot)
    if args.json:
        print(json.dumps([_record(benchmark) for benchmark in found], indent=2))
    elif args.csv:
        csv.writer(sys.stdout).writerows([_COLUMNS, *_rows(found)])
    else:
        print("\n".join(_table(found, args.markdown)))


def _numbers(text: str) -> list[int]:
    """Parses integers with commas between them."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, or several as 1,2,4, not {text!r}") from None


def _warnings(threads: Iterable[int]) -> Iterator[str]:
    """What would make the figures wrong."""
    n_cores = default_threads()
    if max(threads) > n_cores:
        yield f"{max(threads)} threads on {n_cores} cores wait for each other; use -t {n_cores}, or fewer"
    busy = busy_elsewhere()
    if busy is not None and busy > 0.1:
        yield f"other processes keep {busy:.1f} CPUs busy; a quiet machine is faster"


def _record(found: Benchmark) -> dict[str, Any]:
    """A benchmark as JSON: its fields, and the speeds of each test."""
    record = asdict(found)
    record["speeds"] = [
        {
            **asdict(speed.test),
            "tokens_per_second": {"median": speed.median, "slowest": speed.slowest, "fastest": speed.fastest},
            "seconds": speed.seconds,
        }
        for speed in found.speeds
    ]
    return record


_COLUMNS = (
    *("model", "executor", "threads", "phase", "tokens", "depth"),
    *("tokens/s", "slowest", "fastest", "GB/s"),
)


def _rows(found: Iterable[Benchmark]) -> Iterator[tuple[object, ...]]:
    """A row of `_COLUMNS` for each test, with numbers that are not rounded."""
    for benchmark in found:
        for speed in benchmark.speeds:
            test = speed.test
            bandwidth = benchmark.bandwidth_gb_per_second(speed) if test.phase == "decode" else ""
            yield (
                *(benchmark.model, benchmark.executor, benchmark.n_threads),
                *(test.phase, test.n_tokens, test.depth),
                *(speed.median, speed.slowest, speed.fastest, bandwidth),
            )


def _table(found: list[Benchmark], markdown: bool) -> Iterator[str]:
    """The lines of a table for people, and below it the other measurements."""
    head = ("model", "threads", "test", "tokens/s", "spread", "weights read", "of stream")
    rows = [head, *(_cells(benchmark, speed) for benchmark in found for speed in benchmark.speeds)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "| " + " | ".join(cells) + " |" if markdown else "  ".join(cells).rstrip()
        if markdown and number == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    yield ""
    for benchmark in found:
        yield (
            f"{Path(benchmark.model).name}, {benchmark.executor}, {benchmark.n_threads} threads: loading took"
            f" {benchmark.load_seconds:.2f} s, compiling {benchmark.compile_seconds:.2f} s; memory streams at"
            f" {benchmark.stream_bandwidth_gb_per_second:.1f} GB/s"
        )
    if any("!" in row[-1] for row in rows):
        yield "!: more than memory streamed in this run: weights lie in a cache, or the machine was disturbed"


def _cells(found: Benchmark, speed: Speed) -> tuple[str, ...]:
    test = speed.test
    bandwidth = found.bandwidth_gb_per_second(speed)
    is_decode = test.phase == "decode"
    return (
        Path(found.model).name,
        str(found.n_threads),
        f"{test.phase} {test.n_tokens}" + (f" at {test.depth}" if test.depth else ""),
        f"{speed.median:.1f}",
        f"{speed.slowest:.1f} to {speed.fastest:.1f}",
        f"{bandwidth:.1f} GB/s" if is_decode else "",
        share(bandwidth, found.stream_bandwidth_gb_per_second) if is_decode else "",
    )
