"""Values from outside that are passed on as JSON: checked, and copied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import RequestError

_MAX_DEPTH = 64
_MAX_BITS = 1024


def plain_json(value: Any, name: str, depth: int = 0) -> Any:
    """A copy of `value` of JSON's types alone: tuples become lists. RequestError, about `name`, for what JSON
    has not, lone surrogates, integers of more than 1024 bits, and for more than 64 levels."""
    if isinstance(value, str):
        return checked_text(value, name)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() <= _MAX_BITS:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping | list | tuple) and depth == _MAX_DEPTH:
        raise RequestError(f"{name} is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        copy = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise RequestError(f"{name} must have texts as keys, not {key!r:.100}")
            copy[checked_text(key, f"a key of {name}")] = plain_json(item, f"{name}[{key!r:.40}]", depth + 1)
        return copy
    if isinstance(value, list | tuple):
        return [plain_json(item, f"{name}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise RequestError(f"{name} must be text, a number, a list or a dict, as in JSON, not {value!r:.100}")


def checked_text(text: str, name: str) -> str:
    """The text itself, as a plain `str`; RequestError, about `name`, for lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{name} must be Unicode, but character {error.start} is the lone surrogate "
            f"U+{ord(text[error.start]):04X}"
        ) from error
    return str(text)


def is_unicode(text: str) -> bool:
    """False if there are lone surrogates in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
