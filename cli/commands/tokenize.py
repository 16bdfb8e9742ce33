"""Shows the tokens of a text: the id and the text of each.  MODEL is a name, an address or a path.

Without TEXT it is all of standard input.
"""

import argparse

from ...hub.models import resolve
from ...tokenizer import Tokenizer
from ..texts import text_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a name, an address or the path of a GGUF file")
    parser.add_argument("text", nargs="?", metavar="TEXT")
    parser.add_argument("--ids", action="store_true", help="only the ids, on one line")
    parser.add_argument(
        "--no-special", action="store_true", help="add no BOS or EOS, even if the file asks for it"
    )
    parser.add_argument(
        "--parse-special", action="store_true", help="take <|im_start|> and its like as one token"
    )


def run(args: argparse.Namespace) -> None:
    text = text_of(args.text, "TEXT")
    tokenizer = Tokenizer.from_gguf(resolve(args.model))
    ids = tokenizer.encode(text, add_special=not args.no_special, parse_special=args.parse_special)
    if args.ids:
        print(*ids)
        return
    width = len(str(tokenizer.n_vocab))
    for token_id in ids:
        print(f"{token_id:>{width}}  {_shown(tokenizer.token_bytes(token_id, skip_special_tokens=False))}")


def _shown(raw: bytes) -> str:
    """The text in quotes, with escapes; the bytes if a token is part of a character."""
    try:
        return repr(raw.decode())
    except UnicodeDecodeError:
        return repr(raw)
