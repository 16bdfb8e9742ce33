"""Writes activations of a text to files, as sparse autoencoders are trained on.  MODEL is a name, an
address or the path of a GGUF file.

The text is cut into windows, each run by itself.  DIR gets shards, files of a bounded size; with --form npy
a folder for each, whose arrays can be mapped.  A run that was cut short goes on where it stopped when the
same command is given again.  `nybble inspect MODEL --activations` has the names.
"""

import argparse
import os
from collections.abc import Iterable, Iterator
from typing import Any

from ...engine.llm import LLM
from ...errors import RequestError
from ...research.corpus import DEFAULT_SHARD_BYTES, capture_corpus
from ...research.windows import stream_windows
from ...system.notices import progress_bar
from ..options.engine import add_engine_options, open_llm
from ..options.text import add_file_option, add_window_option
from ..texts import open_text, pieces


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    add_file_option(parser)
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
    add_window_option(parser)
    parser.add_argument("--form", choices=("npz", "npy"), default="npz", help="of the shards (%(default)s)")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float16", "float32"),
        default="auto",
        help="of the values; auto: float16, but float32 for activations that have larger ones (%(default)s)",
    )
    parser.add_argument(
        "--shard-mb",
        dest="shard_bytes",
        type=_mebibytes,
        default=DEFAULT_SHARD_BYTES,
        metavar="N",
        help=f"MiB of activations in a shard at most; as much memory is taken ({DEFAULT_SHARD_BYTES >> 20})",
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    with open_text(args.file, "-f TEXT") as file, open_llm(args.model, args) as llm:
        n_bytes = os.fstat(file.fileno()).st_size or None  # a pipe has no size
        shards = capture_corpus(
            llm,
            stream_windows(llm, pieces(file, args.file), args.window),
            args.activations,
            args.out,
            dtype=args.dtype,
            form=args.form,
            shard_bytes=args.shard_bytes,
            progress=lambda texts: _bar(llm, texts, n_bytes),
        )
    print(f"{len(shards)} shard{'s' if len(shards) != 1 else ''} in {args.out}")


def _mebibytes(word: str) -> int:
    return int(word) << 20


def _bar(llm: LLM, texts: Iterable[Any], n_bytes: int | None) -> Iterator[Any]:
    """The texts, with a progress bar on stderr that counts the file's bytes."""
    tokenizer = llm.tokenizer
    if tokenizer is None:
        raise RequestError(f"{llm.path} has no tokenizer: it cannot read a text")
    with progress_bar(total=n_bytes) as bar:
        n_tokens = 0
        for ids in texts:
            yield ids
            n_tokens += len(ids)
            bar.set_postfix(tokens=n_tokens, refresh=False)
            bar.update(sum(len(tokenizer.token_bytes(token_id)) for token_id in ids.tolist()))
