"""Continues a text: the words go to stdout as they come, the figures to stderr.

Without MODEL it is SmolLM2, fetched on first use.  MODEL is a name or the path of a GGUF file; PROMPT may be -
for standard input.
"""

import argparse
import sys

from ..engine.generation import TextStream
from ..engine.sampling import SamplingParams
from ..gguf_io.errors import RequestError
from .engine_options import add_engine_options, open_llm

_DEFAULT_MODEL = "smollm2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = SamplingParams()
    parser.usage = "nybble run [options] [MODEL] PROMPT"
    parser.add_argument("words", nargs="+", metavar="[MODEL] PROMPT", help="the text to continue")
    parser.add_argument("-n", "--max-tokens", type=int, default=default.max_tokens, metavar="N",
                        help="tokens to generate at most (%(default)s)")  # fmt: skip
    parser.add_argument("--temp", type=float, default=default.temperature, metavar="T",
                        help="0 always takes the most probable token (%(default)s)")  # fmt: skip
    parser.add_argument("--top-k", type=int, default=default.top_k, metavar="K",
                        help="keep the K most probable tokens; 0 keeps all (%(default)s)")  # fmt: skip
    parser.add_argument("--top-p", type=float, default=default.top_p, metavar="P",
                        help="keep the most probable tokens that together reach P (%(default)s)")  # fmt: skip
    parser.add_argument("--min-p", type=float, default=default.min_p, metavar="P",
                        help="keep tokens at least P times as probable as the best (%(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, help="the same seed gives the same text")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before this text")
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    if len(args.words) > 2:
        raise RequestError(f"run takes [MODEL] PROMPT, not {len(args.words)} words; put the prompt in quotes")
    model = args.words[0] if len(args.words) == 2 else _DEFAULT_MODEL
    prompt = sys.stdin.read() if args.words[-1] == "-" else args.words[-1]
    params = SamplingParams(
        max_tokens=args.max_tokens,
        temperature=args.temp,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        seed=args.seed,
        stop=args.stop,
    )
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter is no reason to stop
    with open_llm(model, args) as llm:
        stream = llm.stream(prompt, params)
        try:
            for piece in stream:
                print(piece, end="", flush=True)
            print(flush=True)
        finally:
            print(_summary(stream), file=sys.stderr)


def _summary(stream: TextStream) -> str:
    timings = stream.timings
    return (
        f"nybble: {timings.n_prompt_tokens} prompt tokens at {timings.prefill_tokens_per_second:.1f}/s,"
        f" {len(stream.token_ids)} generated at {timings.decode_tokens_per_second:.1f}/s"
        f" (ended by {stream.finish_reason or 'interruption'});"
        f" loading took {timings.load_seconds:.2f} s, compiling {timings.compile_seconds:.2f} s"
    )
