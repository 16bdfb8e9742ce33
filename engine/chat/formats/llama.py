"""Calls of Llama 3.1 to 3.3."""

from __future__ import annotations

from dataclasses import dataclass

from .base import ParsedCall, Schemas, ToolFormat, parsed_call
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
        return _JSON.grammar(lark, tools)

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
