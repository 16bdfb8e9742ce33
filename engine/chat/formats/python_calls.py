"""Calls that are written as in Python."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import Beginning, ParsedCall, Schemas, ToolFormat, parsed_call, without_end
from .lark_writer import LarkWriter, series
from .scanners import Scanner, UntilText

_JSON_NAMES = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class PythonCalls(ToolFormat):
    """`<|tool_call_start|>[NAME(key="value"), …]<|tool_call_end|>`: LFM2."""

    begin: str
    end: str

    @property
    def openers(self) -> tuple[str, ...]:
        return (self.begin,)

    @property
    def markers(self) -> tuple[str, ...]:
        return self.begin, self.end

    def scanner(self, opener: str) -> Scanner:
        return UntilText(self.end)

    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        return python_calls(without_end(text.removeprefix(self.begin), self.end))

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        one = lark.rule(lark.any_of(_tool(lark, name, schema) for name, schema in tools.items()))
        others = lark.more(f'", " {one}')
        return [Beginning(self.begin, f'"[" {one} {others} "]" {lark.text(self.end)}', has_all=True)]


def _tool(lark: LarkWriter, name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    arguments = [
        (f"{lark.text(f'{key}=')} {lark.json(own, schema)}", key in required)
        for key, own in schema.get("properties", {}).items()
    ]
    return f"{lark.text(f'{name}(')} {series(lark, arguments, ', ')} {lark.text(')')}"


def python_calls(text: str) -> list[ParsedCall] | None:
    """The calls in a list of Python, or a call alone; None for anything else. Nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings
            tree = ast.parse(text.strip(), mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
        calls = [_call(node) for node in nodes]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return None if not calls or None in calls else [call for call in calls if call]


def _call(node: ast.expr) -> ParsedCall | None:
    if not isinstance(node, ast.Call) or node.args:
        return None
    arguments = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords if keyword.arg}
    if len(arguments) != len(node.keywords):  # **arguments
        return None
    return parsed_call(ast.unparse(node.func), arguments)


def _value(node: ast.expr) -> Any:
    """The value of a literal; JSON's names too. ValueError for anything else."""
    if isinstance(node, ast.Name) and node.id in _JSON_NAMES:
        return _JSON_NAMES[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_key(key): _value(value) for key, value in zip(node.keys, node.values, strict=True)}
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"{value!r:.40} is no value of JSON")
    return value


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("keys must be texts")
