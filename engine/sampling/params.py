"""The user's parameters of sampling: how tokens are chosen, and when a text ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import RequestError
from ...gguf_io.display import Shown

_MAX_STOP_STRINGS = 16
_MAX_STOP_LENGTH = 256


@dataclass(frozen=True, kw_only=True, repr=False)
class SamplingParams(Shown):
    """How tokens are chosen, and when a text ends.  The default is greedy: a prompt always gives the same
    text.

        nybble.SamplingParams(max_tokens=64, temperature=0.7, top_p=0.9, seed=1, stop=["\\n\\n"])

    The filters are applied in llama.cpp's order: top_k, top_p, min_p, and only then the temperature, so that
    the same tokens survive at every temperature.  Values outside their range raise `RequestError`, which is a
    `ValueError`.
    """

    max_tokens: int = 256
    """Generate at most so many tokens; fewer when the context is full.  1 to 2**31 - 1."""
    temperature: float = 0.0
    """0 takes the most probable token; 1 samples from the model's distribution; more is flatter.  0 to
    100."""
    top_k: int = 0
    """Keep only so many of the most probable tokens; 0 keeps all.  0 to 2**31 - 1."""
    top_p: float = 1.0
    """Keep the smallest set of most probable tokens that reaches this; 1 keeps all.  Above 0, up to 1."""
    min_p: float = 0.0
    """Keep only tokens at least so many times as probable as the most probable one; 0 keeps all.  0 to 1."""
    seed: int | None = None
    """The draw of a token depends on the seed and the number of the token in the text, on nothing else; None
    takes a random seed.  0 to 2**64 - 1."""
    stop: Sequence[str] = ()
    """Generation ends before the first of these strings: up to 16 strings of 1 to 256 characters.  Control
    tokens match by their names (`<|im_end|>`), whether they are shown or not."""
    n: int = 1
    """Generate so many texts for the prompt, which is run once; `Output.choices` has them.  1 to 1024."""
    n_draft: int | None = None
    """With `LLM(draft=…)`: draft at most so many tokens for a step; 0 drafts none, None as many as pay.  The
    text does not depend on it.  0 to 64."""
    cache_prompt: bool = True
    """Take over what has been computed for the same first tokens, and leave what is computed for others. The
    text does not depend on it."""
    skip_special_tokens: bool = True
    """Leave control tokens out of the text, except those that give it structure (gpt-oss: `<|channel|>`)."""

    def __post_init__(self) -> None:
        _check_integer("max_tokens", self.max_tokens, 1, 2**31 - 1)
        _check_number("temperature", self.temperature, 0.0, 100.0)
        _check_integer("top_k", self.top_k, 0, 2**31 - 1)
        _check_number("top_p", self.top_p, 0.0, 1.0, above=True)
        _check_number("min_p", self.min_p, 0.0, 1.0)
        if self.seed is not None:
            _check_integer("seed", self.seed, 0, 2**64 - 1)
        object.__setattr__(self, "stop", _checked_stop(self.stop))
        _check_integer("n", self.n, 1, 1024)
        if self.n_draft is not None:
            _check_integer("n_draft", self.n_draft, 0, 64)
        for name in ("cache_prompt", "skip_special_tokens"):
            if not isinstance(value := getattr(self, name), bool | np.bool_):
                raise RequestError(f"{name} must be a bool, not {value!r:.100}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_integer(name: str, value: Any, low: int, high: int) -> None:
    if not _is_integer(value) or not low <= value <= high:
        raise RequestError(f"{name} must be an integer from {low} to {high}, not {value!r}")


def _check_number(name: str, value: Any, low: float, high: float, above: bool = False) -> None:
    is_number = _is_integer(value) or isinstance(value, float | np.floating)
    if not is_number or not low <= value <= high or (above and value == low):
        bounds = f"above {low:g} and up to {high:g}" if above else f"from {low:g} to {high:g}"
        raise RequestError(f"{name} must be a number {bounds}, not {value!r}")


def _checked_stop(stop: Any) -> tuple[str, ...]:
    strings = tuple(stop) if isinstance(stop, list | tuple) else None
    if (
        strings is None
        or len(strings) > _MAX_STOP_STRINGS
        or not all(isinstance(s, str) and 1 <= len(s) <= _MAX_STOP_LENGTH for s in strings)
    ):
        raise RequestError(
            f"stop must be a list of at most {_MAX_STOP_STRINGS} strings of 1 to {_MAX_STOP_LENGTH}"
            f" characters, not {stop!r:.200}"
        )
    return strings
