"""Makes vectors of texts: those of texts that mean the same lie close together.

MODEL is a name or the path of a GGUF file.  For each text one line is written, a JSON object: the text, the
number of its tokens, and the embedding, of length 1.  With TEXT - each line of standard input is a text.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from typing import get_args

from ..engine.embedding import Pooling
from ..gguf_io.errors import RequestError
from .engine_options import add_engine_options, open_llm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument(
        "--pooling",
        choices=[name for name in get_args(Pooling) if name != "none"],
        help="how the vectors of the tokens become one (default: what the file says)",
    )
    parser.add_argument("--raw", action="store_true", help="leave the vectors as long as they come")
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    if "-" in args.texts and len(args.texts) > 1:
        raise RequestError("give texts, or - for standard input, not both")
    with open_llm(args.model, args) as llm:
        for text in _lines() if args.texts == ["-"] else args.texts:
            ids = llm.prompt_ids(text)
            (vector,) = llm.embed(ids, pooling=args.pooling, normalize=not args.raw)
            values = [float(f"{value:.9g}") for value in vector]  # as many digits as a float32 has
            line = {"text": text, "n_tokens": len(ids), "embedding": values}
            print(json.dumps(line, ensure_ascii=False), flush=True)


def _lines() -> Iterable[str]:
    """The lines of standard input, without their ends; what is not UTF-8 becomes lone surrogates, which no
    text may have."""
    for line in sys.stdin.buffer:
        yield line.decode(errors="surrogateescape").rstrip("\r\n")
