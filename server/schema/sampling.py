"""Fields that say how tokens are chosen, and the `SamplingParams` that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...engine.sampling.params import SamplingParams
from ..wire.errors import bad_field
from .fields import Either, Field, Flag, Integer, Kind, ListOf, MapOf, Number, OneOf, Text, fields, shown

MANY = 2**31 - 1
MAX_STOPS = 16
_TOKEN_ID = Integer(0, MANY)
_STOP = Text(256, 1)


class TokenIds(Kind):
    """A list of 1 to `MANY` token ids; that they are in the vocabulary is checked where it is known."""

    def check(self, value: Any, name: str) -> Any:
        if type(value) is not list or not value:
            raise bad_field(name, f"must be a list of token ids, not {shown(value)}")
        for each in value:
            if type(each) is not int or not 0 <= each <= MANY:
                raise bad_field(name, f"must be a list of token ids, and has {shown(each)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": _TOKEN_ID.json_schema(), "minItems": 1}


CHAINS: dict[str, Field] = {
    **fields(
        temperature=Number(0, 100),
        top_p=Number(0, 1, above=True),
        top_k=Integer(-1, MANY),
        min_p=Number(0, 1),
        typical_p=Number(0, 1, above=True),
        top_n_sigma=Number(0, 100),
        xtc_probability=Number(0, 1),
        xtc_threshold=Number(0, 1),
        min_keep=Integer(0, MANY),
        repeat_penalty=Number(0.01, 100),
        presence_penalty=Number(-100, 100),
        frequency_penalty=Number(-100, 100),
        repeat_last_n=Integer(0, MANY),
        dynatemp_range=Number(0, 100),
        dynatemp_exponent=Number(0, 100),
        dry_multiplier=Number(0, 100),
        dry_base=Number(1, 100),
        dry_allowed_length=Integer(1, MANY),
        dry_penalty_last_n=Integer(0, MANY),
        dry_sequence_breakers=ListOf(Text(40, 1), 16),
        mirostat=Integer(0, 2),
        mirostat_tau=Number(0, 100),
        mirostat_eta=Number(0, 100),
        adaptive_target=Number(0, 1),
        adaptive_decay=Number(0, 0.99),
        seed=Integer(-1, 2**64 - 1),
    ),
    "repetition_penalty": Field(Number(0.01, 100), reads_as="repeat_penalty"),
}
"""The samplers, by the names of `SamplingParams`; -1 is llama.cpp's word for none, or for a random seed."""

SAMPLING: dict[str, Field] = {
    **CHAINS,
    **fields(
        stop=Either((_STOP, ListOf(_STOP, MAX_STOPS))),
        stop_token_ids=ListOf(_TOKEN_ID, 1024),
        logit_bias=MapOf(Number(-100, 100), 1024),
        min_tokens=Integer(0, MANY),
        ignore_eos=Flag(),
        grammar=Text(1 << 17, 1),
        regex=Text(1 << 14, 1),
        choice=ListOf(Text(1 << 12, 1), 4096, 1),
        repetition_detection=Integer(8, 4096),
        skip_special_tokens=Flag(),
        cache_prompt=Flag(),
    ),
}
"""All that `SamplingParams` has of it, but for what APIs name each in its own way."""

REASONING = Field(OneOf(("none", "minimal", "low", "medium", "high", "xhigh")))


def sampling_params(
    given: Mapping[str, Any], defaults: SamplingParams, n_seq_max: int, **others: Any
) -> SamplingParams:
    """The parameters of a request whose fields are checked; what it does not say is as in `defaults`.
    `others`, unless None, are what an API names in its own way. `APIError` or `RequestError` for what
    contradicts itself."""
    values = {name: given[name] for name in SAMPLING if given.get(name) is not None}
    values |= {name: value for name, value in others.items() if value is not None}
    if isinstance(values.get("stop"), str):
        values["stop"] = [values["stop"]]
    if values.get("seed") == -1:
        del values["seed"]
    if values.get("top_k") == -1:
        values["top_k"] = 0
    if "logit_bias" in values:
        values["logit_bias"] = {_id(key): value for key, value in values["logit_bias"].items()}
    if values.get("n", 1) > n_seq_max:
        raise bad_field("n", f"must be at most {n_seq_max}, the texts that run side by side here")
    if values.get("temperature") == 0:  # what was a default of the server contradicts it
        values = {"mirostat": 0, "adaptive_target": None, **values}
    return replace(defaults, **values)


def _id(key: str) -> int:
    if not key.isascii() or not key.isdigit() or len(key) > 10:
        raise bad_field("logit_bias", f"must have token ids as keys, not {shown(key)}")
    return int(key)


def finite(value: float) -> float:
    """A log-probability as JSON can have it: that of what cannot be is the smallest one."""
    return value if math.isfinite(value) else -1e9
