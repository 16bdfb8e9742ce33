"""Tools as the APIs other than chat completions have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def chat_tools(tools: Sequence[Mapping[str, Any]] | None, schema: str) -> list[dict[str, Any]] | None:
    """Tools in the form of chat completions, None if there are none; `schema` is the field with that of a
    tool's arguments."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool["description"] or "",
                "parameters": tool[schema] or {"type": "object", "properties": {}},
            },
        }
        for tool in tools or ()
    ] or None
