"""Answers a file of requests, as the OpenAI API has batches, and writes a file of results.

IN has a JSON object in each line: custom_id, method, url (/v1/chat/completions, /v1/completions or
/v1/embeddings) and body. OUT gets a line for each, in the same order: custom_id, and the response or the
error. The same requests have the same results, to the byte. Until all is done the file is OUT.partial;
whatever interrupts the command, the same command goes on where it ended.

With --ray (pip install "nybble[ray]") the nodes of a Ray cluster answer; each must have the model. What a
node had when it died is done again by others, and the results are the same.
"""

import argparse
import os
from collections.abc import Callable

from ...batch import BatchSummary, run_batch
from ...errors import RequestError
from ...system.notices import progress_bar, say
from ..options.engine import (
    add_chat_template_option,
    add_engine_options,
    add_pooling_option,
    engine_options,
    open_llm,
)
from ..options.model import DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("requests", metavar="IN.jsonl")
    parser.add_argument("results", metavar="OUT.jsonl")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="MODEL", help="a name, an address or a path (%(default)s)"
    )
    add_pooling_option(parser)
    add_chat_template_option(parser)
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="by a Ray cluster: that of $RAY_ADDRESS, or a new one here, without an address",
    )
    parser.add_argument(
        "--workers", dest="n_workers", type=int, metavar="N", help="models on the cluster (one for each node)"
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    if args.n_workers is not None and (args.ray is None or args.n_workers < 1):
        raise RequestError("--workers needs --ray, and a number from 1 on")
    n_bytes = os.stat(os.path.expanduser(args.requests)).st_size
    with progress_bar("requests", n_bytes) as bar:
        run = _local if args.ray is None else _on_cluster
        summary = run(args, bar.update)
    say(_told(summary))


def _local(args: argparse.Namespace, on_progress: Callable[[int], object]) -> BatchSummary:
    with open_llm(args.model, args) as llm:
        return run_batch(llm, args.requests, args.results, pooling=args.pooling, on_progress=on_progress)


def _on_cluster(args: argparse.Namespace, on_progress: Callable[[int], object]) -> BatchSummary:
    from ...batch.ray_run import run_batch_on_ray  # which imports Ray

    return run_batch_on_ray(
        *(args.model, args.requests, args.results),
        address=args.ray or None,
        pooling=args.pooling,
        n_workers=args.n_workers,
        on_progress=on_progress,
        **engine_options(args),
    )


def _told(summary: BatchSummary) -> str:
    n_new = summary.n_requests - summary.n_kept
    kept = f" ({summary.n_kept} were done before)" if summary.n_kept else ""
    failed = f", {summary.n_failed} failed" if summary.n_failed else ""
    speed = summary.n_generated / summary.seconds
    return (
        f"{n_new} requests{kept}{failed}; {summary.n_generated} tokens generated in {summary.seconds:.1f} s,"
        f" {speed:.1f} tokens/s"
    )
