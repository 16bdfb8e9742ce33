"""Calls of Gemma 4."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import RequestError
from .base import Beginning, ParsedCall, Schemas, ToolFormat, after_space, decoded, parsed_call, without_end
from .lark_writer import LarkWriter, series
from .scanners import Scanner, UntilText

_BEGIN, _END = "<|tool_call>", "<tool_call|>"
_QUOTE = '<|"|>'
_HEAD = re.compile(r"\s*call:\s*([^\s{]+)\s*")
_KEY = re.compile(r"([^\s:{}\[\],]+)\s*:")
_PLAIN = re.compile(r"[^\s,{}\[\]]+")
_MAX_DEPTH = 64


@dataclass(frozen=True)
class GemmaCalls(ToolFormat):
    """`<|tool_call>call:NAME{key:<|"|>text<|"|>,other:[1,2]}<tool_call|>`."""

    @property
    def openers(self) -> tuple[str, ...]:
        return (_BEGIN,)

    @property
    def markers(self) -> tuple[str, ...]:
        return _BEGIN, _END, _QUOTE

    def scanner(self, opener: str) -> Scanner:
        return UntilText(_END)

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        calls = (
            f"{lark.text(f'call:{name}')} {_value_rule(lark, schema, name)}" for name, schema in tools.items()
        )
        return [Beginning(_BEGIN, f"{lark.any_of(calls)} {lark.text(_END)}")]

    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        body = without_end(text.removeprefix(_BEGIN), _END)
        head = _HEAD.match(body)
        if head is None:
            return None
        try:
            value, end = _value(body, head.end(), 0)
        except ValueError:
            return None
        call = parsed_call(head[1], value) if not body[end:].strip() else None
        return [call] if call else None


def _value_rule(lark: LarkWriter, schema: Any, name: str) -> str:
    """Items for a value of a schema, written as Gemma does."""
    if not isinstance(schema, Mapping):
        schema = {}
    kind = schema.get("type", "object" if "properties" in schema else None)
    if texts := schema.get("enum"):
        quoted = (f"{_QUOTE}{text}{_QUOTE}" if isinstance(text, str) else json.dumps(text) for text in texts)
        return lark.any_of(map(lark.text, quoted))
    match kind:
        case "string":
            return f"{lark.text(_QUOTE)} {lark.text_until(_QUOTE)}"
        case "integer" | "number" | "boolean" | "null":
            return lark.json(schema)
        case "array":
            item = lark.rule(_value_rule(lark, schema.get("items", {"type": "string"}), name))
            return f'"[" ({item} ("," {item})*)? "]"'
        case "object":
            required = schema.get("required", ())
            entries = [
                (f"{lark.text(f'{key}:')} {_value_rule(lark, own, name)}", key in required)
                for key, own in schema.get("properties", {}).items()
            ]
            return f'"{{" {series(lark, entries, ",")} "}}"'
    raise RequestError(
        f"the tool {name!r} has a schema that cannot be enforced in the format of Gemma: {schema!r:.80}"
    )


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at a position, and where it ends; ValueError if there is none."""
    at = after_space(text, at)
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    if text.startswith(_QUOTE, at):
        end = text.index(_QUOTE, at + len(_QUOTE))
        return text[at + len(_QUOTE) : end], end + len(_QUOTE)
    if text[at : at + 1] in ("{", "["):
        return _items(text, at, depth)
    plain = _PLAIN.match(text, at)
    if plain is None:
        raise ValueError("no value")
    value = decoded(plain[0])
    return (plain[0] if value is None and plain[0] != "null" else value), plain.end()


def _items(text: str, at: int, depth: int) -> tuple[Any, int]:
    """An object or a list."""
    is_object, end_mark = text[at] == "{", "}" if text[at] == "{" else "]"
    items: dict[str, Any] = {}
    values: list[Any] = []
    at = after_space(text, at + 1)
    while not text.startswith(end_mark, at):
        if is_object:
            key, at = _key(text, at)
            items[key], at = _value(text, at, depth + 1)
        else:
            value, at = _value(text, at, depth + 1)
            values.append(value)
        at = after_space(text, at)
        if text.startswith(",", at):
            at = after_space(text, at + 1)
        elif not text.startswith(end_mark, at):
            raise ValueError("neither a comma nor an end")
    return (items if is_object else values), at + 1


def _key(text: str, at: int) -> tuple[str, int]:
    if text.startswith(_QUOTE, at):
        end = text.index(_QUOTE, at + len(_QUOTE))
        return text[at + len(_QUOTE) : end], text.index(":", end) + 1
    key = _KEY.match(text, at)
    if key is None:
        raise ValueError("no key")
    return key[1], key.end()
