"""Calls of Llama 3.1 to 3.3."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .base import Beginning, ParsedCall, Schemas, ToolFormat, parsed_call
from .json_calls import JsonCalls
from .lark_writer import LarkWriter
from .python_calls import python_calls
from .scanners import Scanner, UntilTheEnd

_PYTHON_TAG = "<|python_tag|>"
_BUILT_IN = ".call"
_JSON = JsonCalls("", arguments_key="parameters")


@dataclass(frozen=True)
class LlamaCalls(ToolFormat):
    """An answer that is `{"name": …, "parameters": …}`, or a built-in tool,
    `<|python_tag|>NAME.call(query="…")`; any other program after that tag is for a tool named
    `code_interpreter`."""

    @property
    def openers(self) -> tuple[str, ...]:
        return (_PYTHON_TAG,)

    @property
    def openers_at_start(self) -> tuple[str, ...]:
        return _JSON.openers_at_start

    @property
    def markers(self) -> tuple[str, ...]:
        return (_PYTHON_TAG,)

    def scanner(self, opener: str) -> Scanner:
        return UntilTheEnd() if opener == _PYTHON_TAG else _JSON.scanner(opener)

    def grammar(self, lark: LarkWriter, tools: Schemas) -> str:
        (call,) = _JSON.beginnings(lark, tools)
        return call.rest

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        """An answer may be an object that is no call: it is one from the name of a tool on, and the word
        "parameters". What a program is cannot be said."""
        heads = {name: ("{", "name", ":", name, ",", "parameters", ":") for name in tools}
        return [
            Beginning("", f'SPACE {lark.json(schema)} SPACE "}}"', _terminal(heads[name]))
            for name, schema in tools.items()
        ]

    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        if not text.startswith(_PYTHON_TAG):
            return _JSON.calls(text, schemas)
        body = text.removeprefix(_PYTHON_TAG).strip()
        if (calls := _JSON.calls(body, schemas)) is not None:
            return calls
        calls = python_calls(body)
        if calls and all(call.name.endswith(_BUILT_IN) for call in calls):
            return [ParsedCall(call.name.removesuffix(_BUILT_IN), call.arguments) for call in calls]
        program = parsed_call("code_interpreter", {"code": body}) if body else None
        return [program] if program else None


def _terminal(tokens: tuple[str, ...]) -> str:
    """Items of a terminal for tokens of JSON, marks and texts, with white space between them."""
    texts = (token if token in "{:," else json.dumps(token) for token in tokens)
    return " /[ \\t\\n\\r]*/ ".join(map(json.dumps, texts))
