"""Calls of Functionary 3.2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .base import Beginning, ParsedCall, Schemas, ToolFormat, parsed_call, value_at
from .lark_writer import LarkWriter
from .scanners import EndsAtOnce, Scanner, UntilJsonEnds

_MARK = ">>>"
_END = "\n"
_WORDS = "all" + _END


@dataclass(frozen=True)
class FunctionaryCalls(ToolFormat):
    """`>>>NAME\\n{…}`, and words as `>>>all\\n…`; the prompt ends with the first `>>>`. Other names are
    words."""

    names: tuple[str, ...] = ()

    def bound(self, schemas: Schemas | None) -> ToolFormat:
        return FunctionaryCalls(tuple(schemas or ()))

    @property
    def openers(self) -> tuple[str, ...]:
        return tuple(_MARK + opener for opener in self.openers_at_start)

    @property
    def openers_at_start(self) -> tuple[str, ...]:
        return _WORDS, *(f"{name}\n" for name in self.names)

    @property
    def markers(self) -> tuple[str, ...]:
        return ()

    def scanner(self, opener: str) -> Scanner:
        return EndsAtOnce() if opener.endswith(_MARK + _WORDS) or opener == _WORDS else UntilJsonEnds()

    def grammar(self, lark: LarkWriter, tools: Schemas) -> str:
        calls = [f"{lark.text(name + _END)} {lark.json(schema)}" for name, schema in tools.items()]
        call = lark.rule(lark.any_of(calls))
        return f"{call} {lark.more(f'{lark.text(_MARK)} {call}')}"

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        words = [Beginning(_MARK + _WORDS, ""), Beginning("", "", json.dumps(_WORDS))]
        calls = {name + _END: lark.json(schema) for name, schema in tools.items()}
        later = [Beginning(_MARK + opener, rest) for opener, rest in calls.items()]
        return words + later + [Beginning("", rest, json.dumps(opener)) for opener, rest in calls.items()]

    def calls(self, text: str, schemas: Mapping[str, Mapping[str, object]]) -> list[ParsedCall] | None:
        name, _, body = text.removeprefix(_MARK).partition("\n")
        if not body and name + "\n" == _WORDS:
            return []
        found = value_at(body, 0)
        call = parsed_call(name, found[0]) if found and not body[found[1] :].strip() else None
        return [call] if call else None
