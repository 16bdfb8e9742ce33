"""Calls that are JSON objects with a name and arguments, between two markers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import Beginning, ParsedCall, Schemas, ToolFormat, after_space, parsed_call, value_at, without_end
from .lark_writer import LarkWriter, wrapped
from .scanners import Scanner, UntilJsonEnds, UntilText

_NAMES = ("name", "tool_name")
_ARGUMENTS = ("arguments", "parameters")
_IDS = ("id", "tool_call_id")


@dataclass(frozen=True)
class JsonCalls(ToolFormat):
    """`<tool_call>{"name": …, "arguments": …}</tool_call>` and the like: an object, several of them, or a
    list.

    Hermes, Qwen 2.5 and 3, Granite, Mistral Nemo, Command R, Apertus. Without `begin` an answer that begins
    with an object may be a call (Llama 3). Without `end` a call ends where its JSON does.
    """

    begin: str
    end: str = ""
    name_key: str | None = "name"
    """None: the name is the only key, and the arguments are its value."""
    arguments_key: str = "arguments"
    is_list: bool = False
    id_key: str = ""
    """What holds an id, which the model writes itself; "" if it writes none."""
    id_is_first: bool = False

    @property
    def openers(self) -> tuple[str, ...]:
        return (self.begin,) if self.begin else ()

    @property
    def openers_at_start(self) -> tuple[str, ...]:
        return () if self.begin else ("{",)

    @property
    def markers(self) -> tuple[str, ...]:
        return self.begin, self.end

    def scanner(self, opener: str) -> Scanner:
        if self.end:
            return UntilText(self.end, skips_strings=True)
        scanner = UntilJsonEnds()
        scanner.feed(opener if not self.begin else "", 0)
        return scanner

    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        objects = _objects(without_end(text.removeprefix(self.begin), self.end))
        calls = None if objects is None else [self._call(each) for each in objects]
        return None if not calls or None in calls else [call for call in calls if call]

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        kinds = [self._schema(name, schema) for name, schema in tools.items()]
        one = lark.rule(lark.any_of(map(lark.json, kinds)))
        end = f"SPACE {lark.text(self.end)}" if self.end else ""
        if not self.is_list:
            return [Beginning(self.begin, f"SPACE {one} {end}")]
        others = lark.more(f'"," SPACE {one}')
        return [Beginning(self.begin, f'SPACE "[" SPACE {one} {others} SPACE "]" {end}', has_all=True)]

    def _schema(self, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        if self.name_key is None:
            return wrapped(schema, {}, name)
        made = wrapped(schema, {self.name_key: name}, self.arguments_key)
        if self.id_key:
            own = {self.id_key: {"type": "string", "maxLength": 40}}
            properties = made["properties"]
            made["properties"] = own | properties if self.id_is_first else properties | own
            made["required"].append(self.id_key)
        return made

    def _call(self, value: Any) -> ParsedCall | None:
        if not isinstance(value, dict):
            return None
        if self.name_key is None:
            ((name, arguments),) = value.items() if len(value) == 1 else ((None, None),)
            return parsed_call(name, arguments)
        inner = value.get("function")
        if isinstance(inner, dict):
            value = {**value, **inner}
        name = _first(value, (self.name_key, *_NAMES))
        arguments = _first(value, (self.arguments_key, *_ARGUMENTS))
        if arguments is None and not self.begin:
            return None  # {"name": "Ada"} is no call
        return parsed_call(name, {} if arguments is None else arguments, _first(value, _IDS))


def _objects(text: str) -> list[Any] | None:
    """The JSON values of a text, those of lists one by one; None if there is anything else."""
    objects: list[Any] = []
    at = after_space(text, 0)
    while at < len(text):
        found = value_at(text, at)
        if found is None:
            return None
        value, at = found
        objects += value if isinstance(value, list) else [value]
        at = after_space(text, at)
        if at < len(text) and text[at] in ",;":
            at = after_space(text, at + 1)
    return objects


def _first(value: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)
