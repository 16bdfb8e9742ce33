"""Makes a text again from its receipt, and says whether it is the same, to the token.

RECEIPT is a file that --receipt of `nybble run` has written, or the `receipt` of a server's answer. The model
is found by its name among those on this machine, and by its contents; --model says where another one is.

The exit code is 0 if the text is the same, 1 if it is not, and 2 if that cannot be found out: the model is
another one, the receipt is damaged, or holds not all that the text depends on.
"""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from ...engine.receipts.receipt import Receipt
from ...engine.receipts.verification import Verification
from ...engine.steering.control_vector import ControlVector
from ...errors import NybbleError, RequestError
from ...gguf_io.file import load_gguf
from ...hub.local_models import local_models
from ...system.notices import say
from ..options.engine import add_threads_option, add_weights_option, open_llm
from ..plain_text import plain
from ..standard_streams import complain, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("receipt", metavar="RECEIPT", help="a receipt, in JSON")
    parser.add_argument(
        "-m", "--model", metavar="MODEL", help="a name, an address or the path of a GGUF file"
    )
    parser.add_argument(
        "--control-vector",
        action="append",
        default=[],
        metavar="FILE",
        help="a control vector that the text was steered with; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs")
    add_threads_option(parser)
    add_weights_option(parser, "mapped ones stay in the file: for models larger than memory; slower")


def run(args: argparse.Namespace) -> int:
    try:
        receipt = Receipt.load(args.receipt)
        found = _verified(receipt, args)
    except (NybbleError, OSError, MemoryError) as error:
        complain(f"nybble: error: {plain(_message(error))}")
        return 2
    if args.json:
        print_json(asdict(found))
    else:
        n = len(receipt.token_ids)
        print("the same" if found.is_same else "not the same", end=": ")
        print(f"all {n} tokens" if found.is_same else found.difference)
    if not found.is_same:
        for remark in found.remarks:
            say(f"it may be because of {remark}")
    return 0 if found.is_same else 1


def _verified(receipt: Receipt, args: argparse.Namespace) -> Verification:
    vectors = [ControlVector.load(path) for path in args.control_vector]
    model = args.model or _model_of(receipt)
    options = {"executor": receipt.executor, "cache_type": receipt.cache_type, "n_ctx": receipt.n_ctx}
    with open_llm(model, args, **options) as llm:
        return llm.verify(receipt, vectors)


def _model_of(receipt: Receipt) -> Path:
    """The file on this machine that the receipt is of. Nothing that a receipt says becomes a path, or is
    fetched."""
    named = {path for model in local_models() for path in model.paths[:1] if path.name == receipt.model}
    for path in sorted(named):
        with load_gguf(path) as file:
            if file.content_hash() == receipt.model_hash:
                return path
    problem = "has other contents on this machine" if named else "is not on this machine under that name"
    raise RequestError(
        f"the receipt's model {receipt.model:.100}, SHA-256 {receipt.model_hash:.80}, {problem}; --model says"
        " where it is"
    )


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__
