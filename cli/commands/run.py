"""Answers a prompt: the words go to stdout as they come, the figures to stderr.

The prompt becomes the user's turn of a conversation, by the file's own chat template, after what --system
says.  With --raw, and where a file has no such template, as those of base models, it is a text that the model
continues.

Without MODEL it is SmolLM2, fetched on first use.  MODEL is a name, an address or the path of a file.

Without PROMPT, or if it is -, standard input is the prompt, less the end of its last line; with one it is not
read.  With -f the prompt is the text of a file, and after an empty line PROMPT, if there is one:
nybble run -f report.txt "What does it say, in one sentence?"
A PROMPT that begins with a dash stands after --.
"""

import argparse
import dataclasses
import os
from types import MethodType

from ...engine.generation.output import Output
from ...engine.generation.prompt import Prompt
from ...engine.generation.request import Request
from ...engine.hooks.taps import Edits
from ...engine.llm import LLM
from ...engine.steering.control_vector import ControlVector, steering
from ...errors import RequestError, did_you_mean
from ...hub.models import SOURCES
from ...system.notices import say
from ..options.engine import add_chat_template_option, add_engine_options, open_llm
from ..options.model import DEFAULT_MODEL, is_model
from ..options.sampling import add_sampling_options, sampling_params
from ..parser import Parser
from ..standard_streams import print_json
from ..texts import read_text, text_of, unicode_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "nybble run [options] [MODEL] [PROMPT]"
    # Tests may pass another parser: after `--` comes a prompt, whatever it begins with.
    parser.parse_intermixed_args = MethodType(Parser.parse_intermixed_args, parser)  # type: ignore
    parser.add_argument(
        "words", nargs="*", default=[], metavar="[MODEL] [PROMPT]", help="what to ask, or to continue"
    )
    parser.add_argument("-f", "--file", metavar="FILE", help="a text in UTF-8, as the prompt or before it")
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the prompt")
    parser.add_argument("--raw", action="store_true", help="continue the prompt, without a chat template")
    add_chat_template_option(parser)
    add_sampling_options(parser)
    parser.add_argument(
        "--control-vector",
        "--control-vector-scaled",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="add a control vector (a GGUF file) after the blocks; may be repeated",
    )
    parser.add_argument(
        "--control-vector-layer-range",
        nargs=2,
        type=int,
        metavar=("START", "END"),
        help="only after these blocks, both included",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object, for programs, at the end")
    parser.add_argument(
        "--receipt", metavar="FILE", help="write what the text depends on, which `nybble verify` checks"
    )
    add_engine_options(parser)


def run(args: argparse.Namespace) -> None:
    if args.raw and args.system is not None:
        raise RequestError("--system goes into a conversation, and --raw makes none; leave one of them out")
    model, prompt = _model_and_prompt(args.words, args.file)
    params = sampling_params(args)
    if not args.json and (params.logprobs is not None or params.prompt_logprobs is not None):
        raise RequestError("`logprobs` and `prompt_logprobs` are shown with --json only")
    with open_llm(model, args) as llm:
        asked = prompt if args.raw else _turn(llm, prompt, args.system)
        stream = llm.stream(asked, params, edit=_control(llm, args))
        if args.json:
            output = stream.result()
            print_json({"model": str(llm.path), **_facts(output)}, indent=2)
            _save_receipt(output, args.receipt)
            return
        try:
            for piece in stream:
                print(piece, end="", flush=True)
        finally:
            print(flush=True)
            say(_summary(stream))
        _save_receipt(stream.output(), args.receipt)


def _save_receipt(output: Output, path: str | None) -> None:
    if path is not None and (receipt := output.receipt) is not None:
        receipt.save(path)


def _facts(output: Output) -> dict[str, object]:
    """What JSON shows of an output, which has come to its end."""
    hidden = "error", "alternatives", "receipt_source"
    shown = dataclasses.replace(output, receipt_source=None)
    return {name: value for name, value in dataclasses.asdict(shown).items() if name not in hidden}


def _turn(llm: LLM, prompt: str, system: str | None) -> Prompt:
    """The prompt as the user's turn of a conversation; unchanged if the file has no chat template, unless the
    user wants a conversation."""
    if not prompt or (llm.chat_template is None and system is None):
        if prompt:
            say(f"{llm.path.name} has no chat template, so the prompt is continued (as --raw does)")
        return prompt
    told = [] if system is None else [{"role": "system", "content": unicode_of(system)}]
    return llm.render([*told, {"role": "user", "content": prompt}]).token_ids


def _model_and_prompt(words: list[str], file: str | None) -> tuple[str, str]:
    """The model and the prompt. A single word may be either; a model's name must not become a prompt."""
    if len(words) > 2:
        raise RequestError(f"run takes [MODEL] [PROMPT], not {len(words)} words; put the prompt in quotes")
    if len(words) == 2 or (words and is_model(words[0])):
        model, word = words[0], next(iter(words[1:]), None)
    else:
        model, word = DEFAULT_MODEL, next(iter(words), None)
        if hint := did_you_mean(word or "", SOURCES, 0.7):
            raise RequestError(f"{word!r} is no model{hint} As a prompt: nybble run {model} {word}")
        if word and len(word.split()) == 1:
            say(f"{word!r} is no model here, so it is the PROMPT, and the MODEL is {model}")
    parts = [] if file is None else [_without_line_end(read_text(file))]
    if file is None or word is not None:
        prompt = text_of(word, f"PROMPT for {model}")
        parts.append(_without_line_end(prompt) if word in (None, "-") else prompt)
    return model, "\n\n".join(parts)


def _without_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _control(llm: LLM, args: argparse.Namespace) -> Edits | None:
    """The edits of the control vectors on the command line; None if there are none."""
    layers = None
    if args.control_vector_layer_range:
        start, end = args.control_vector_layer_range
        layers = range(start, end + 1)
    if not args.control_vector:
        if layers:
            raise RequestError("--control-vector-layer-range needs a --control-vector")
        return None
    parts = [
        (ControlVector.load(name), strength, layers) for name, strength in map(_scaled, args.control_vector)
    ]
    for vector, _, _ in parts:
        vector.require_fit(llm)
    return steering(parts)


def _scaled(text: str) -> tuple[str, float]:
    """A file's name and the strength after its last colon, 1 if there is none."""
    name, _, strength = text.rpartition(":")
    if name and not os.path.exists(os.path.expanduser(text)):
        try:
            return name, float(strength)
        except ValueError:
            pass  # the colon is part of the name
    return text, 1.0


def _summary(stream: Request) -> str:
    timings = stream.timings
    speed = f" at {timings.decode_tokens_per_second:.1f}/s" if timings.n_decode_tokens else ""
    return (
        f"{timings.n_prompt_tokens} prompt tokens at {timings.prefill_tokens_per_second:.1f}/s,"
        f" {len(stream.token_ids)} generated{speed}"
        f" (ended by {stream.finish_reason or 'interruption'});"
        f" loading took {timings.load_seconds:.2f} s, compiling {timings.compile_seconds:.2f} s"
    )
