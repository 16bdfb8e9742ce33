"""Makes vectors of texts: those of texts that mean the same lie close together.

MODEL is a name, an address or the path of a GGUF file.  For each text one line is written, a JSON object: the
text, the number of its tokens, and the embedding, of length 1.  Without TEXT each line of standard input is a
text.
"""

import argparse

from ...errors import RequestError
from ..options.engine import add_engine_options, add_pooling_option, open_llm
from ..standard_streams import print_json
from ..texts import stdin_lines, unicode_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("texts", nargs="*", default=[], metavar="TEXT")
    add_pooling_option(parser)
    parser.add_argument(
        "--no-normalize",
        dest="normalize",
        action="store_false",
        help="leave the vectors as long as they come",
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    from_stdin = args.texts in ([], ["-"])
    if "-" in args.texts and not from_stdin:
        raise RequestError("give texts, or - for standard input, not both")
    texts = stdin_lines(next(iter(args.texts), None), "TEXT") if from_stdin else map(unicode_of, args.texts)
    with open_llm(args.model, args) as llm:
        for text in texts:
            ids = llm.prompt_ids(text)
            (vector,) = llm.embed(ids, pooling=args.pooling, normalize=args.normalize)
            values = [float(f"{value:.9g}") for value in vector]  # as many digits as a float32 has
            print_json({"text": text, "n_tokens": len(ids), "embedding": values})
