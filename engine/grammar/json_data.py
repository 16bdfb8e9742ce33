"""JSON from a request: of bounded size and depth, and nothing but JSON."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ...errors import RequestError

MAX_LENGTH = 2**18
"""A grammar or a schema has at most so many characters."""
MAX_DEPTH = 100
"""Brackets are nested at most so deep: what compiles them recurses on a stack that ends a process when it is
full."""
MAX_VALUES = 2**16
"""A schema that comes as Python objects has at most so many values."""
MAX_BITS = 4096
"""Integers have at most so many bits: Python writes no longer ones."""

_BRACKETS = re.compile(r'"(?:\\.|[^"\\])*"|([\[{(])|([\]})])')


def check_text(text: str, name: str) -> None:
    """RequestError if the argument `name` is too long, or no Unicode."""
    if len(text) > MAX_LENGTH:
        raise RequestError(f"{name} must have at most {MAX_LENGTH} characters, not {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"{name} must be Unicode; character {error.start} is a lone surrogate") from error


def check_depth(depth: int, name: str) -> None:
    """RequestError if brackets in the argument `name` are nested deeper than MAX_DEPTH."""
    if depth > MAX_DEPTH:
        raise RequestError(f"{name} must not be nested deeper than {MAX_DEPTH} levels")


def decoded(text: str, name: str, start: int = 0) -> tuple[Any, int]:
    """The first JSON value of `text` from `start`; -> it, and where it ends.

    Raises RequestError if there is none, if it is nested too deep, or if a name stands in an object twice.
    """
    depth = 0
    for match in _BRACKETS.finditer(text, start):
        depth += (match[1] is not None) - (match[2] is not None)
        check_depth(depth, name)
        if depth < 0:
            break
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError) as error:  # also integers that are too long for Python
        raise RequestError(f"{name} must be JSON: {error}") from error


def parsed(text: str, name: str) -> Any:
    """The JSON value that `text` is; RequestError as in `decoded` and `plain`, and if something follows."""
    check_text(text, name)
    start = len(text) - len(text.lstrip(" \t\r\n"))
    value, end = decoded(text, name, start)
    if text[end:].strip(" \t\r\n"):
        raise RequestError(f"{name} must be one JSON value; something follows it at character {end}")
    return plain(value, name)


def plain(value: Any, name: str) -> Any:
    """A copy of JSON that is given as Python objects: dict, list, str, int, float, bool and None alone.

    Raises RequestError, with the place, for anything else, and for what is too much or nested too deep, as an
    object that contains itself.
    """
    n_left = MAX_VALUES

    def copy(value: Any, place: str, depth: int) -> Any:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise RequestError(f"{name} must have at most {MAX_VALUES} values")
        check_depth(depth, name)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _unicode(str(value), place, name)
        if isinstance(value, int) and value.bit_length() <= MAX_BITS:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, Mapping):
            return {
                _key(key, place, name): copy(inner, below(place, key), depth + 1)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [copy(inner, below(place, i), depth + 1) for i, inner in enumerate(value)]
        raise RequestError(f"{name} must be JSON; at {place} is {value!r:.80}")

    return copy(value, "#", 0)


def below(place: str, step: str | int) -> str:
    """The JSON pointer, as a fragment (`#/properties/a`), of what is one step below `place`."""
    return f"{place}/{str(step).replace('~', '~0').replace('/', '~1')}"


def _key(key: Any, place: str, name: str) -> str:
    if not isinstance(key, str):
        raise RequestError(f"{name} must be JSON; at {place} is the name {key!r:.80}, which is no text")
    return _unicode(key, place, name)


def _unicode(text: str, place: str, name: str) -> str:
    if not text.isascii() and any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        raise RequestError(f"{name} must be Unicode; at {place} is a lone surrogate")
    return text


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        n_of = Counter(name for name, _ in pairs)
        raise ValueError(f"{n_of.most_common(1)[0][0][:40]!r} is in an object twice")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
