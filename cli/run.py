"""Continues a text: the words go to stdout as they come, the figures to stderr.

Without MODEL it is SmolLM2, fetched on first use.  MODEL is a name or the path of a GGUF file; PROMPT may be
- for standard input.
"""

import argparse
import sys
from pathlib import Path

from ..engine.generation import TextStream
from ..engine.llm import LLM
from ..engine.sampling import SamplingParams
from ..engine.taps import Edits
from ..gguf_io.errors import RequestError
from ..research.control_vector import ControlVector
from .engine_options import add_engine_options, open_llm

_DEFAULT_MODEL = "smollm2"

# option, field of SamplingParams, type, placeholder, help
_SAMPLING = (
    ("--max-tokens", "max_tokens", int, "N", "tokens to generate at most"),
    ("--temp", "temperature", float, "T", "0 always takes the most probable token"),
    ("--top-k", "top_k", int, "K", "keep the K most probable tokens; 0 keeps all"),
    ("--top-p", "top_p", float, "P", "keep the most probable tokens that together reach P"),
    ("--min-p", "min_p", float, "P", "keep tokens at least P times as probable as the best"),
    ("--seed", "seed", int, "N", "the same seed gives the same text"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "nybble run [options] [MODEL] PROMPT"
    parser.add_argument("words", nargs="+", metavar="[MODEL] PROMPT", help="the text to continue")
    for option, field, kind, placeholder, text in _SAMPLING:
        options = ("-n", option) if option == "--max-tokens" else (option,)
        default = getattr(SamplingParams(), field)
        text = f"{text} ({'random' if default is None else default})"
        parser.add_argument(*options, dest=field, type=kind, default=default, metavar=placeholder, help=text)
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before this text")
    parser.add_argument(
        "--no-skip-special-tokens",
        dest="skip_special_tokens",
        action="store_false",
        help="show control tokens, such as <|im_start|>, in the text",
    )
    parser.add_argument(
        "--control-vector",
        "--control-vector-scaled",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="add a control vector (a GGUF file) behind the blocks; may be repeated",
    )
    parser.add_argument(
        "--control-vector-layer-range",
        nargs=2,
        type=int,
        metavar=("START", "END"),
        help="only behind these blocks, both included",
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    if len(args.words) > 2:
        raise RequestError(f"run takes [MODEL] PROMPT, not {len(args.words)} words; put the prompt in quotes")
    model = args.words[0] if len(args.words) == 2 else _DEFAULT_MODEL
    prompt = _read_stdin() if args.words[-1] == "-" else args.words[-1]
    chosen = {field: getattr(args, field) for _, field, *_ in _SAMPLING}
    params = SamplingParams(**chosen, stop=args.stop, skip_special_tokens=args.skip_special_tokens)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to stop
    with open_llm(model, args) as llm:
        stream = llm.stream(prompt, params, edit=_control(llm, args))
        try:
            for piece in stream:
                print(piece, end="", flush=True)
            print(flush=True)
        finally:
            print(_summary(stream), file=sys.stderr)


def _control(llm: LLM, args: argparse.Namespace) -> Edits | None:
    """What the control vectors on the command line do; None if there are none."""
    layers = None
    if args.control_vector_layer_range:
        start, end = args.control_vector_layer_range
        layers = range(start, end + 1)
    if not args.control_vector:
        if layers:
            raise RequestError("--control-vector-layer-range needs a --control-vector")
        return None
    parts = [(ControlVector.load(name), strength) for name, strength in map(_scaled, args.control_vector)]
    vector = ControlVector.mixed(parts)
    vector.require_fit(llm)
    return vector.edits(1.0, layers)


def _scaled(text: str) -> tuple[str, float]:
    """A file's name, and the strength behind the last colon, else 1."""
    name, _, strength = text.rpartition(":")
    if name and not Path(text).exists():
        try:
            return name, float(strength)
        except ValueError:
            pass  # the colon is part of the name
    return text, 1.0


def _read_stdin() -> str:
    """All of standard input; what is not UTF-8 becomes lone surrogates, which a prompt may not have."""
    return sys.stdin.buffer.read().decode(errors="surrogateescape")


def _summary(stream: TextStream) -> str:
    timings = stream.timings
    speed = f" at {timings.decode_tokens_per_second:.1f}/s" if timings.n_decode_tokens else ""
    return (
        f"nybble: {timings.n_prompt_tokens} prompt tokens at {timings.prefill_tokens_per_second:.1f}/s,"
        f" {len(stream.token_ids)} generated{speed}"
        f" (ended by {stream.finish_reason or 'interruption'});"
        f" loading took {timings.load_seconds:.2f} s, compiling {timings.compile_seconds:.2f} s"
    )
