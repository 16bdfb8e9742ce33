"""Calls whose arguments stand between tags, each by itself, as text without quotes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import Beginning, ParsedCall, Schemas, ToolFormat, after_space, decoded, parsed_call, sectioned
from .lark_writer import LarkWriter
from .scanners import Scanner, UntilText, UntilTheEnd

_PYTHON = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class TaggedParameters(ToolFormat):
    """`<function=NAME><parameter=KEY>VALUE</parameter></function>` and the like.

    Qwen3-Coder, Qwen 3.5, Nemotron 3, GLM, MiniMax M2, DeepSeek V3.2 and V4, Seed-OSS. The types of values
    are those of the tool's schema, unless `other_key_end` tells those that are JSON.
    """

    begin: str
    key_begin: str
    key_end: str
    value_end: str
    end: str
    name_end: str = ""
    """Between the name and the first key; "" where the first key follows the name."""
    section: tuple[str, str] = ("", "")
    """Around all calls."""
    other_key_end: str = ""
    """In place of `key_end` before values that are no texts."""
    has_lines: bool = False
    """Values stand on lines of their own."""

    @property
    def openers(self) -> tuple[str, ...]:
        return (self.section[0] or self.begin,)

    @property
    def markers(self) -> tuple[str, ...]:
        parts = self.begin, self.name_end, self.key_begin, self.key_end, self.other_key_end, self.value_end
        return *parts, self.end, *self.section

    def scanner(self, opener: str) -> Scanner:
        if self.section[0] and not self.section[1]:
            return UntilTheEnd()
        return UntilText(self.section[1] if self.section[0] else self.end)

    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        at = after_space(text, len(self.section[0]))
        calls = []
        while text.startswith(self.begin, at):
            at += len(self.begin)
            end = self._end_of_name(text, at)
            if end < 0:
                return None
            name = text[at:end].strip()
            at = end + len(self.name_end)
            properties = schemas.get(name, {}).get("properties", {})
            found = self._arguments(text, at, properties if isinstance(properties, Mapping) else {})
            call = found and parsed_call(name, found[0])
            if not found or not call:
                return None
            calls.append(call)
            at = after_space(text, found[1])
        rest = text[at:].strip()
        return calls if calls and self.section[1].startswith(rest) else None

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        calls = [self._tool(lark, name, schema) for name, schema in tools.items()]
        return [sectioned(lark, self.begin, lark.any_of(calls), self.section)]

    def _tool(self, lark: LarkWriter, name: str, schema: Mapping[str, Any]) -> str:
        required = schema.get("required", ())
        parameters = []
        for key, own in schema.get("properties", {}).items():
            body = f"{self._parameter(lark, key, own, schema)} SPACE"
            parameters.append(body if key in required else f"({body})?")
        return f"{lark.text(name + self.name_end)} SPACE {' '.join(parameters)} {lark.text(self.end)}"

    def _parameter(self, lark: LarkWriter, key: str, schema: Any, root: Mapping[str, Any]) -> str:
        line = lark.text("\n") if self.has_lines else ""
        kinds = schema if isinstance(schema, Mapping) else {}
        if kinds.get("type", "string") != "string" or "$ref" in kinds or "anyOf" in kinds:
            head = lark.text(self.key_begin + key + (self.other_key_end or self.key_end))
            return f"{head} {line} {lark.json(kinds, root)} {line} {lark.text(self.value_end)}"
        head = lark.text(self.key_begin + key + self.key_end)
        values = kinds.get("enum") or ([kinds["const"]] if "const" in kinds else [])
        texts = [value for value in values if isinstance(value, str)]
        if texts:
            return f"{head} {line} {lark.any_of(map(lark.text, texts))} {line} {lark.text(self.value_end)}"
        return f"{head} {line} {lark.text_until(self.value_end)}"

    def _end_of_name(self, text: str, at: int) -> int:
        if self.name_end:
            return text.find(self.name_end, at)
        ends = [end for end in (text.find(self.key_begin, at), text.find(self.end, at)) if end >= 0]
        return min(ends, default=-1)

    def _arguments(
        self, text: str, at: int, properties: Mapping[str, Any]
    ) -> tuple[dict[str, Any], int] | None:
        """The arguments from `at` on, and where the call ends."""
        arguments: dict[str, Any] = {}
        at = after_space(text, at)
        while text.startswith(self.key_begin, at):
            start = at + len(self.key_begin)
            ends = {end: text.find(end, start) for end in (self.key_end, self.other_key_end) if end}
            places = [(place, -len(end), end) for end, place in ends.items() if place >= 0]
            if not places:
                return None
            place, _, key_end = min(places)
            key, start = text[start:place].strip(), place + len(key_end)
            end = self._end_of_value(text, start)
            if end < 0:
                return None
            is_text = key_end == self.key_end if self.other_key_end else None
            arguments[key] = self._value(text[start:end], properties.get(key), is_text)
            at = after_space(text, end + len(self.value_end))
        if text.startswith(self.end, at):
            return arguments, at + len(self.end)
        return (arguments, len(text)) if self.end.startswith(text[at:]) else None  # ended early

    def _end_of_value(self, text: str, start: int) -> int:
        """Where the value ends: a value may hold what ends it, but not what comes after that."""
        end = text.find(self.value_end, start)
        while end >= 0:
            after = after_space(text, end + len(self.value_end))
            if after == len(text) or text.startswith((self.key_begin, self.end), after):
                return end
            end = text.find(self.value_end, end + 1)
        return end

    def _value(self, text: str, schema: Any, is_text: bool | None) -> Any:
        if self.has_lines:
            text = text.removeprefix("\n").removesuffix("\n")
        kind = schema.get("type") if isinstance(schema, Mapping) else None
        if is_text or (is_text is None and kind == "string"):
            return text
        plain = text.strip()
        if plain in _PYTHON:
            return _PYTHON[plain]
        value = decoded(plain)
        return text if value is None and plain != "null" else value
