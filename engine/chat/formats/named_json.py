"""Calls that are a name, and arguments as a JSON object after it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .base import Beginning, ParsedCall, Schemas, ToolFormat, after_space, parsed_call, sectioned, value_at
from .lark_writer import LarkWriter
from .scanners import Scanner, UntilJsonEnds, UntilText, UntilTheEnd

_FUNCTION_ID = re.compile(r"(?:functions\.)?(.+?):\d+")


@dataclass(frozen=True)
class NamedJson(ToolFormat):
    """`<function=NAME>{…}</function>` and the like, perhaps several in a section.

    DeepSeek V3.1, Kimi K2, Mistral Small 3.2 and Ministral 3, Functionary 3.1, Solar Open.
    """

    begin: str
    """Before the name; with `id_end` before the id."""
    name_end: str
    """Between the name and the arguments; with `id_begin` between the id and the arguments."""
    end: str = ""
    section: tuple[str, str] = ("", "")
    """Around all calls."""
    id_end: str = ""
    """Between an id and the name."""
    id_begin: str = ""
    """Between the name and an id."""
    name_is_id: bool = False
    """The name is `functions.NAME:0`, and that is the id (Kimi K2)."""

    @property
    def openers(self) -> tuple[str, ...]:
        return (self.section[0] or self.begin,)

    @property
    def markers(self) -> tuple[str, ...]:
        return self.begin, self.name_end, self.end, self.id_begin, self.id_end, *self.section

    def scanner(self, opener: str) -> Scanner:
        if self.section[0] and not self.section[1]:
            return UntilTheEnd()
        end = self.section[1] if self.section[0] else self.end
        return UntilText(end, skips_strings=True) if end else UntilJsonEnds(self.name_end)

    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        at = after_space(text, len(self.section[0]))
        calls = []
        while at < len(text):
            if not text.startswith(self.begin, at):
                break
            start = at + len(self.begin)
            end = text.find(self.name_end, start)
            found = value_at(text, end + len(self.name_end)) if end >= 0 else None
            call = None if found is None else self._call(text[start:end].strip(), found[0])
            if found is None or call is None:
                return None
            calls.append(call)
            at = after_space(text, found[1])
            if self.end and text.startswith(self.end, at):
                at = after_space(text, at + len(self.end))
            elif self.end and not self.end.startswith(text[at:]):
                return None
            elif self.end:
                at = len(text)
        rest = text[at:].strip()
        return calls if calls and self.section[1].startswith(rest) else None

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        calls = []
        for name, schema in tools.items():
            if self.id_end:
                head = f"/[A-Za-z0-9_-]{{1,40}}/ {lark.text(self.id_end + name + self.name_end)}"
            elif self.id_begin:
                head = f"{lark.text(name + self.id_begin)} /[A-Za-z0-9]{{9}}/ {lark.text(self.name_end)}"
            elif self.name_is_id:
                head = f"{lark.text(f'functions.{name}:')} /[0-9]{{1,3}}/ {lark.text(self.name_end)}"
            else:
                head = lark.text(name + self.name_end)
            end = f"SPACE {lark.text(self.end)}" if self.end else ""
            calls.append(f"{head} SPACE {lark.json(schema)} {end}")
        return [sectioned(lark, self.begin, lark.any_of(calls), self.section)]

    def _call(self, head: str, arguments: object) -> ParsedCall | None:
        name, id_ = head, None
        if self.id_end:
            id_, _, name = head.rpartition(self.id_end)
        elif self.id_begin:
            name, _, id_ = head.partition(self.id_begin)
        elif self.name_is_id and (found := _FUNCTION_ID.fullmatch(head)):
            name, id_ = found[1], head
        return parsed_call(name.strip(), arguments, id_ and id_.strip())
