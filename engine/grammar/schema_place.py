"""Where in a JSON schema the part is that llguidance refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .json_data import below

_MAX_TRIALS = 100
_ONE = ("items", "additionalItems", "additionalProperties")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_ROOT = "#/$defs/root"


def refused_place(schema: dict[str, Any], is_refused: Callable[[dict[str, Any]], bool]) -> str:
    """The JSON pointer of the innermost part of a checked `schema` that is refused alone, "#" for the whole.
    `is_refused` compiles a schema."""
    moved = _moved(schema)
    n_left = _MAX_TRIALS

    def fails(place: str) -> bool:
        nonlocal n_left
        n_left -= 1
        return n_left >= 0 and is_refused({"$ref": _ROOT + place[1:], "$defs": {"root": moved}})

    place, inner = "#", schema
    while found := next((part for part in _parts(inner, place) if fails(part[0])), None):
        place, inner = found
    return place


def _parts(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The schemas directly in this one."""
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        at = below(place, keyword)
        if keyword in _LISTS and isinstance(value, list):
            yield from ((below(at, i), inner) for i, inner in enumerate(value))
        elif keyword in _MAPS:
            yield from ((below(at, name), inner) for name, inner in value.items())
        elif keyword in _ONE:
            yield at, value


def _moved(schema: Any) -> Any:
    """The schema with references that hold below `_ROOT`."""
    if not isinstance(schema, dict):
        return schema
    moved = {}
    for keyword, value in schema.items():
        if keyword == "$ref":
            value = _ROOT + value[1:] if value == "#" or value.startswith("#/") else value
        elif keyword in _LISTS and isinstance(value, list):
            value = [_moved(inner) for inner in value]
        elif keyword in _MAPS:
            value = {name: _moved(inner) for name, inner in value.items()}
        elif keyword in _ONE:
            value = _moved(value)
        moved[keyword] = value
    return moved
