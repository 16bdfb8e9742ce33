"""Answers a file of requests, as the OpenAI API has batches, and writes a file of results.

IN has a JSON object in each line: custom_id, method, url (/v1/chat/completions, /v1/completions or
/v1/embeddings) and body. OUT gets a line for each, in the same order: custom_id, and the response or the
error. The same requests have the same results, to the byte. Until all is done the file is OUT.partial;
whatever interrupts the command, the same command goes on where it ended.
"""

import argparse
import os

from ...batch import BatchSummary, run_batch
from ...system.notices import progress_bar, say
from ..options.engine import add_chat_template_option, add_engine_options, add_pooling_option, open_llm
from ..options.model import DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("requests", metavar="IN.jsonl")
    parser.add_argument("results", metavar="OUT.jsonl")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="MODEL", help="a name, an address or a path (%(default)s)"
    )
    add_pooling_option(parser)
    add_chat_template_option(parser)
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    n_bytes = os.stat(os.path.expanduser(args.requests)).st_size
    with open_llm(args.model, args) as llm, progress_bar("requests", n_bytes) as bar:
        summary = run_batch(llm, args.requests, args.results, pooling=args.pooling, on_progress=bar.update)
    say(_told(summary))


def _told(summary: BatchSummary) -> str:
    n_new = summary.n_requests - summary.n_kept
    kept = f" ({summary.n_kept} were done before)" if summary.n_kept else ""
    failed = f", {summary.n_failed} failed" if summary.n_failed else ""
    speed = summary.n_generated / summary.seconds
    return (
        f"{n_new} requests{kept}{failed}; {summary.n_generated} tokens generated in {summary.seconds:.1f} s,"
        f" {speed:.1f} tokens/s"
    )
