"""How a chat template wants messages to look: found by rendering some that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

Probe = Callable[[Mapping[str, Any]], str | None]

NEEDLE = "NeedleInTheHay"
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
_USER = {"role": "user", "content": "Hello"}


def made_up_call(name: str, arguments: Any, id_: str = "call00001") -> dict[str, Any]:
    """A call of a tool in a message."""
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


class TemplateTraits:
    """How messages must be changed before the template that `probe` renders reads them. Each trait is looked
    for when a conversation needs it."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    @cached_property
    def wants_parts(self) -> bool:
        """The content must be a list of parts, [{"type": "text", "text": …}]."""
        asked = {"role": "user", "content": NEEDLE}
        parts = {"role": "user", "content": [{"type": "text", "text": NEEDLE}]}
        return not self._shows([asked]) and self._shows([parts])

    @cached_property
    def wants_text_arguments(self) -> bool:
        """The arguments of calls must be JSON text, no object."""

        def shows(arguments: Any) -> bool:
            call = made_up_call("some_tool", arguments)
            turn = {"role": "assistant", "content": "", "tool_calls": [call]}
            result = {"role": "tool", "name": "some_tool", "tool_call_id": call["id"], "content": "ok"}
            text = self._probe({"messages": [_USER, turn, result]}) or ""
            # the value in JSON or as it is, but no Python, as str(dict) would be
            return NEEDLE in text and f"'{NEEDLE}'" not in text and f'\\"{NEEDLE}' not in text

        value = {"key": NEEDLE}
        return not shows(value) and shows(json.dumps(value))

    @cached_property
    def reasoning_key(self) -> str | None:
        """The entry of a message that holds its reasoning; None if the template shows none."""
        answer = {"role": "assistant", "content": "Hi"}
        shown = (key for key in _REASONING_KEYS if self._shows([_USER, answer | {key: NEEDLE}], ended=True))
        return next(shown, None)

    def adapted(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Messages, as `checked_messages` gives them, as the template reads them."""
        return [self._adapted(dict(message)) for message in messages]

    def with_end(self, message: dict[str, Any], end: str) -> dict[str, Any]:
        """The adapted message with `end` after its content."""
        content = message["content"]
        parts = (
            [*content[:-1], {"type": "text", "text": content[-1]["text"] + end}] if self.wants_parts else None
        )
        return message | {"content": parts or content + end}

    def _adapted(self, message: dict[str, Any]) -> dict[str, Any]:
        if self.wants_parts:
            message["content"] = [{"type": "text", "text": message["content"]}]
        reasoning = message.get("reasoning") or message.get("reasoning_content")
        if reasoning and self.reasoning_key:
            message.setdefault(self.reasoning_key, reasoning)
        if "tool_calls" in message and self.wants_text_arguments:
            message["tool_calls"] = [_with_text_arguments(call) for call in message["tool_calls"]]
        return message

    def _shows(self, messages: list[dict[str, Any]], ended: bool = False) -> bool:
        return NEEDLE in (self._probe({"messages": messages, "add_generation_prompt": not ended}) or "")


def _with_text_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}
