"""Writes activations of a text to files, as sparse autoencoders are trained on.  MODEL is a name or the path
of a GGUF file.

The text is cut into windows, each run by itself.  DIR gets shards, files of a bounded size; with --form npy
a folder for each, whose arrays can be mapped.  A run that was cut short goes on where it stopped when the
same command is given again.  `nybble inspect MODEL --activations` has the names.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from ..engine.llm import LLM
from ..gguf_io.errors import RequestError
from ..research.corpus import DEFAULT_SHARD_BYTES, capture_corpus
from ..research.windows import stream_windows
from .engine_options import add_engine_options, open_llm
from .text_options import decode

_PIECE = 1 << 20  # bytes of text that are made tokens at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-f", "--file", required=True, metavar="TEXT", help="a text in UTF-8; - is stdin")
    parser.add_argument(
        "-a",
        "--activations",
        required=True,
        nargs="+",
        action="extend",
        metavar="NAME",
        help='what to capture; patterns too: "blk.*.resid_post"',
    )
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="where the shards go")
    parser.add_argument(
        "-w", "--window", type=int, metavar="N", help="tokens run together (512, or what the context holds)"
    )
    parser.add_argument("--form", choices=("npz", "npy"), default="npz", help="of the shards (%(default)s)")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float16", "float32"),
        default="auto",
        help="of the values; auto: float16, but float32 for activations that have larger ones (%(default)s)",
    )
    parser.add_argument(
        "--shard-mb",
        type=int,
        default=DEFAULT_SHARD_BYTES >> 20,
        metavar="N",
        help="MiB of activations in a shard at most; as much memory is taken (%(default)s)",
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    with open_llm(args.model, args) as llm, _open(args.file) as file:
        n_bytes = None if args.file == "-" else Path(args.file).stat().st_size
        shards = capture_corpus(
            llm,
            stream_windows(llm, _pieces(file, args.file), args.window),
            args.activations,
            args.out,
            dtype=args.dtype,
            form=args.form,
            shard_bytes=args.shard_mb << 20,
            progress=lambda texts: _bar(llm, texts, n_bytes),
        )
    print(f"{len(shards)} shard{'s' if len(shards) != 1 else ''} in {args.out}")


def _bar(llm: LLM, texts: Iterable[Any], n_bytes: int | None) -> Iterator[Any]:
    """The texts, with a bar on stderr of how many of the file's bytes they have been."""
    tokenizer = llm.tokenizer
    if tokenizer is None:
        raise RequestError(f"{llm.path} has no tokenizer: it cannot read a text")
    with tqdm(total=n_bytes, unit="B", unit_scale=True, file=sys.stderr, leave=False) as bar:
        n_tokens = 0
        for ids in texts:
            yield ids
            n_tokens += len(ids)
            bar.set_postfix(tokens=n_tokens, refresh=False)
            bar.update(sum(len(tokenizer.token_bytes(token_id)) for token_id in ids.tolist()))


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if name == "-" else open(name, "rb")


def _pieces(file: BinaryIO, name: str) -> Iterator[str]:
    """The text, some megabyte at a time, cut behind ends of lines. RequestError if it is not UTF-8."""
    n_read = 0
    while lines := file.readlines(_PIECE):
        raw = b"".join(lines)
        yield decode(raw, name, n_read)
        n_read += len(raw)
