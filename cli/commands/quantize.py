"""Writes a model in another format.  IN is a name, an address or a path; of a split model any part.

The mixtures (Q4_K_M, …) give each tensor the format that llama.cpp gives it; rows that are no multiple of 256
get blocks of 32 instead.  Norms and other small tensors stay as they are.  OUT appears when it is complete.
"""

import argparse
import os
from collections import Counter

from ...gguf_io.mixtures import FILE_TYPES
from ...gguf_io.quantize_file import quantize_gguf
from ...hub.models import resolve
from ...system.cores import default_threads
from ...system.notices import progress_bar
from ..options.engine import add_threads_option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN")
    parser.add_argument("target", metavar="OUT")
    parser.add_argument("format", metavar="FORMAT", help=f"one of: {', '.join(FILE_TYPES)}")
    parser.add_argument("--pure", action="store_true", help="FORMAT for all matrices, where it fits")
    parser.add_argument("--force", dest="overwrite", action="store_true", help="replace OUT if it exists")
    add_threads_option(parser)


def run(args: argparse.Namespace) -> None:
    target = os.path.expanduser(args.target)
    with progress_bar() as bar:

        def progress(n_done: int, n_bytes: int) -> None:
            bar.total = n_bytes
            bar.update(n_done - bar.n)

        formats = quantize_gguf(
            resolve(args.source),
            target,
            args.format,
            pure=args.pure,
            overwrite=args.overwrite,
            n_threads=default_threads() if args.n_threads is None else args.n_threads,
            progress=progress,
        )
    counts = Counter(format.name for format in formats.values())
    made_of = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"{target}: {os.path.getsize(target) / 1e6:.1f} MB; tensors: {made_of}")
