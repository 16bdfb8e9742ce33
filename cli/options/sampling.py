"""The options of commands that generate text: how tokens are chosen, and when a text ends."""

import argparse
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from ...engine.sampling.params import SamplingParams
from ..texts import unicode_of
from .constraint import add_constraint_options

_DEFAULTS = SamplingParams()


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Adds an option for each parameter of `SamplingParams` that says something of one text;
    `sampling_params` reads them. Options that are not given are None."""
    for options, field, kind, placeholder, text in _VALUES:
        default = getattr(_DEFAULTS, field)
        shown = _NO_DEFAULT.get(field, "no" if default is None else f"{default:g}")
        parser.add_argument(
            *options, dest=field, type=kind, metavar=placeholder, help=f"{text} ({shown})", default=None
        )
    for options, field, list_kind, placeholder, text in _LISTS:
        parser.add_argument(
            *options, dest=field, type=list_kind, action="append", metavar=placeholder, help=text
        )
    add_constraint_options(parser)
    parser.add_argument(
        "--samplers", type=_names, metavar="NAME;…", help="samplers in the order in which they are applied"
    )
    parser.add_argument(
        "--ignore-eos", action="store_true", default=None, help="never choose a token that ends the text"
    )
    parser.add_argument("--echo", action="store_true", default=None, help="show the prompt before the text")
    parser.add_argument(
        "--no-skip-special-tokens",
        dest="skip_special_tokens",
        action="store_false",
        default=None,
        help="show control tokens, such as <|im_start|>, in the text",
    )


def sampling_params(args: argparse.Namespace, base: SamplingParams = _DEFAULTS) -> SamplingParams:
    """The parameters that `add_sampling_options` has read, and those of `base` for options that were not
    given. RequestError for values out of range."""
    names = [field.name for field in fields(SamplingParams)]
    given = {name: value for name in names if (value := getattr(args, name, None)) is not None}
    for name in ("stop", "choice"):
        if name in given:
            given[name] = list(map(unicode_of, given[name]))
    for name in ("grammar", "regex", "json_schema"):
        if isinstance(given.get(name), str):
            given[name] = unicode_of(given[name])
    if "logit_bias" in given:
        given["logit_bias"] = dict(given["logit_bias"])
    if (breakers := given.get("dry_sequence_breakers")) is not None:
        given["dry_sequence_breakers"] = [unicode_of(text) for text in breakers if text != "none"]
    return replace(base, **given)


def _names(text: str) -> list[str]:
    """Parses names of samplers with semicolons or commas between them."""
    return [name for name in re.split("[;,]", text) if name]


def _bias(text: str) -> tuple[int, float]:
    """Parses the id of a token and the number that is added to its logit: 15043+1, 15043-0.5, 15043-inf."""
    found = re.fullmatch(r"(\d{1,10})([+-][\d.]+|-inf)", text)
    try:
        return int(found[1]), float(found[2])  # type: ignore[index]  # a TypeError, if there is none
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f"expected a token id and a number, as 15043+1 or 15043-inf, not {text!r}"
        ) from None


_Option = tuple[tuple[str, ...], str, Callable[[str], Any], str, str]

# options, field of SamplingParams, type, placeholder, help
_VALUES: tuple[_Option, ...] = (
    (("-n", "--max-tokens"), "max_tokens", int, "N", "tokens to generate at most"),
    (("--min-tokens",), "min_tokens", int, "N", "tokens before which nothing ends the text"),
    (("--temp", "--temperature"), "temperature", float, "T", "0 always takes the most probable token"),
    (("--dynatemp-range",), "dynatemp_range", float, "T", "temperature below and above, by the entropy"),
    (("--dynatemp-exp",), "dynatemp_exponent", float, "X", "how the temperature follows the entropy"),
    (("--top-k",), "top_k", int, "K", "keep the K most probable tokens; 0 keeps all"),
    (("--top-p",), "top_p", float, "P", "keep the most probable tokens that together reach P"),
    (("--min-p",), "min_p", float, "P", "keep tokens at least P times as probable as the best"),
    (("--typical", "--typical-p"), "typical_p", float, "P", "keep tokens of typical surprise"),
    (("--top-n-sigma", "--top-nsigma"), "top_n_sigma", float, "N", "keep logits within N deviations"),
    (("--xtc-probability",), "xtc_probability", float, "P", "how often top choices are excluded"),
    (("--xtc-threshold",), "xtc_threshold", float, "P", "top choices are at least so probable"),
    (("--min-keep",), "min_keep", int, "N", "top-p, min-p, typical and XTC leave at least so many"),
    (("--repeat-penalty",), "repeat_penalty", float, "X", "divides the logits of tokens that were there"),
    (("--presence-penalty",), "presence_penalty", float, "X", "is subtracted from their logits"),
    (("--frequency-penalty",), "frequency_penalty", float, "X", "is subtracted each time they were there"),
    (("--repeat-last-n",), "repeat_last_n", int, "N", "tokens that the penalties look at"),
    (("--dry-multiplier",), "dry_multiplier", float, "X", "lowers what continues a repetition (DRY)"),
    (("--dry-base",), "dry_base", float, "X", "and the more, the longer that is"),
    (("--dry-allowed-length",), "dry_allowed_length", int, "N", "shorter repetitions cost nothing"),
    (("--dry-penalty-last-n",), "dry_penalty_last_n", int, "N", "tokens that DRY looks at"),
    (("--mirostat",), "mirostat", int, "1|2", "keep the surprise near a target, by version 1 or 2"),
    (("--mirostat-ent",), "mirostat_tau", float, "BITS", "that target"),
    (("--mirostat-lr",), "mirostat_eta", float, "X", "how fast mirostat corrects itself"),
    (("--adaptive-target",), "adaptive_target", float, "P", "draw tokens about so probable, on average"),
    (("--adaptive-decay",), "adaptive_decay", float, "X", "the average is over 1 / (1 - X) tokens"),
    (("--seed",), "seed", int, "N", "the same seed gives the same text"),
    (("--repetition-detection",), "repetition_detection", int, "N", "end if the last N tokens are a loop"),
    (("--logprobs",), "logprobs", int, "N", "log-probabilities, and N alternatives, in --json"),
    (("--prompt-logprobs",), "prompt_logprobs", int, "N", "those of the prompt's tokens, too"),
)
_NO_DEFAULT = {"seed": "random"}
_LISTS: tuple[_Option, ...] = (
    (("--stop",), "stop", str, "TEXT", "end before this text; may be repeated"),
    (("--stop-token-id",), "stop_token_ids", int, "ID", "end before this token; may be repeated"),
    (("-l", "--logit-bias"), "logit_bias", _bias, "ID+X", "added to a token's logit: 15043+1, 15043-inf"),
    (
        ("--dry-sequence-breaker",),
        "dry_sequence_breakers",
        str,
        "TEXT",
        r'repetitions end there, "none": nowhere; may be repeated (line ends, :, ", *)',
    ),
)
