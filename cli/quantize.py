"""Writes a model in another format.  IN is a name or the path of a GGUF file; of a split model any part.

The mixtures (Q4_K_M, …) give each tensor the format that llama.cpp gives it; rows that are no multiple of 256
get blocks of 32 instead.  Norms and other small tensors stay as they are.  OUT appears when it is complete.
"""

import argparse
import os
from collections import Counter

from ..engine.cpus import default_threads
from ..engine.models import resolve
from ..gguf_io.mixtures import FILE_TYPES
from ..gguf_io.quantize_file import quantize_gguf


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN")
    parser.add_argument("target", metavar="OUT")
    parser.add_argument("format", metavar="FORMAT", help=f"one of: {', '.join(FILE_TYPES)}")
    parser.add_argument("--pure", action="store_true", help="FORMAT for all matrices, where it fits")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("-t", "--threads", type=int, metavar="N", help="threads (default: one per core)")


def run(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def progress(n_done: int, n_bytes: int) -> None:
            bar.total = n_bytes
            bar.update(n_done - bar.n)

        formats = quantize_gguf(
            resolve(args.source),
            args.target,
            args.format,
            pure=args.pure,
            overwrite=args.force,
            n_threads=default_threads() if args.threads is None else args.threads,
            progress=progress,
        )
    counts = Counter(format.name for format in formats.values())
    made_of = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"{args.target}: {os.path.getsize(args.target) / 1e6:.1f} MB; tensors: {made_of}")
