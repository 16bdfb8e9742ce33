"""Tools that a model may call, and whether it must."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import RequestError, did_you_mean
from ..grammar.json_data import plain

Tool = Mapping[str, Any]
ToolChoice = str | Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FORM = '{"type": "function", "function": {"name": …, "description": …, "parameters": {a JSON schema}}}'


def checked_tools(tools: Any) -> list[dict[str, Any]]:
    """Copies of the tools, [] for None. RequestError for those of another form than the openai package's."""
    if tools is None:
        return []
    if not isinstance(tools, Sequence) or isinstance(tools, str | bytes):
        raise RequestError(f"tools must be a list of {_FORM}, not {tools!r:.100}")
    checked = [_checked(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
    names = [tool["function"]["name"] for tool in checked]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"tools must have different names, but {name!r} is there twice")
    return checked


def checked_tool_choice(choice: Any, tools: Sequence[Tool]) -> str | tuple[str]:
    """ "auto", "none", "required", or the name of a tool alone in a tuple; RequestError for anything else."""
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
    elif choice in ("auto", "none"):
        return str(choice)
    elif choice == "required":
        if not tools:
            raise RequestError('tool_choice="required" needs `tools`')
        return "required"
    else:
        name = choice
    names = [tool["function"]["name"] for tool in tools]
    if not isinstance(name, str) or (not names and name is None):
        raise RequestError(
            'tool_choice must be "auto", "none", "required" or {"type": "function", "function": {"name": …}},'
            f" not {choice!r:.100}"
        )
    if name not in names:
        raise RequestError(
            f"tool_choice names {name!r:.100}, which is none of the tools{did_you_mean(name, names)}"
        )
    return (name,)


def parameters_of(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments; of one without parameters that of an empty object."""
    schema: dict[str, Any] = tool["function"].get("parameters") or {"type": "object", "properties": {}}
    return schema


def _checked(tool: Any, name: str) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or tool.get("type", "function") != "function":
        raise RequestError(f"{name} must be {_FORM}, not {tool!r:.100}")
    own = function.get("name")
    if not isinstance(own, str) or not _NAME.fullmatch(own):
        raise RequestError(
            f"{name}: its name must be 1 to 64 letters, digits, dots, dashes or underscores, not {own!r:.100}"
        )
    if not isinstance(function.get("description", ""), str):
        raise RequestError(f"{name}: its description must be a text, not {function['description']!r:.100}")
    parameters = function.get("parameters")
    if parameters is not None:
        is_schema = isinstance(parameters, Mapping) and parameters.get("type", "object") == "object"
        if not is_schema or not isinstance(parameters.get("properties", {}), Mapping):
            raise RequestError(
                f'{name}: its parameters must be a JSON schema, {{"type": "object", "properties": …}}, not'
                f" {parameters!r:.100}"
            )
    checked: dict[str, Any] = plain(tool, name)
    return {"type": "function", **checked}
