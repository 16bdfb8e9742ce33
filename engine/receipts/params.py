"""The parameters of sampling as a receipt has them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ...errors import RequestError
from ..grammar.grammar import Grammar
from ..sampling.params import SamplingParams

_CONSTRAINTS = ("json_schema", "json_object", "grammar", "regex", "choice")
WITHOUT_EFFECT = frozenset(
    {
        *("n", "n_draft", "cache_prompt", "cache_salt"),
        *("logprobs", "prompt_logprobs", "echo", "skip_special_tokens"),
    }
)
"""Fields on which no token depends."""

_FIELDS = {
    field.name for field in fields(SamplingParams) if field.name not in {*WITHOUT_EFFECT, *_CONSTRAINTS}
}


def params_facts(params: SamplingParams, seed: int) -> dict[str, Any]:
    """The fields that tokens depend on and that differ from the defaults, as JSON has them; samplers of the
    caller are named only."""
    plain = SamplingParams()
    found = {
        name: _as_json(value)
        for name in sorted(_FIELDS)
        if (value := getattr(params, name)) != getattr(plain, name)
    }
    found["seed"] = seed
    if (grammar := params.constraint) is not None:
        found["constraint"] = {"kind": grammar.kind, "source": grammar.given}
    return found


def params_of(facts: Mapping[str, Any]) -> SamplingParams:
    """The parameters that a receipt has; RequestError, which names the field, for what cannot be one's."""
    given = dict(facts)
    constraint = given.pop("constraint", None)
    if unknown := sorted(given.keys() - _FIELDS):
        raise RequestError(f"the receipt's params must not have {unknown[0]!r:.60}")
    try:
        if constraint is not None:
            given["grammar"] = _grammar(constraint)
        if isinstance(bias := given.get("logit_bias"), Mapping):
            given["logit_bias"] = {_id(key): _number(value) for key, value in bias.items()}
        return SamplingParams(**given)
    except RequestError as error:
        raise RequestError(f"the receipt's params cannot be used: {error}") from error


def _grammar(value: Any) -> Grammar:
    is_right = isinstance(value, Mapping) and value.keys() == {"kind", "source"}
    if not is_right or not all(isinstance(text, str) for text in value.values()):
        raise RequestError("constraint must have a kind and a source, which are texts")
    return Grammar.again(value["kind"], value["source"])


def _id(key: Any) -> int:
    if not isinstance(key, str) or not key.isascii() or not key.isdigit() or len(key) > 10:
        raise RequestError(f"logit_bias must have token ids as keys, not {key!r:.60}")
    return int(key)


def _number(value: Any) -> Any:
    return -np.inf if value == "-inf" else value


def _as_json(value: Any) -> Any:
    """Texts for numbers that JSON lacks, and for functions."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(inner) for inner in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(float(value))
    return value if isinstance(value, str) or value is None else type(value).__name__
