"""Conversations as they are asked for: messages of the openai package's form, checked and copied."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ...errors import RequestError
from ..grammar.json_data import plain
from .message import ChatMessage
from .tools import checked_tools

Message = Mapping[str, Any] | ChatMessage


@dataclass(frozen=True)
class Conversation:
    """What a template renders; everything is checked and copied."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    documents: list[dict[str, Any]]
    variables: dict[str, Any]
    """Further variables of the template."""
    add_generation_prompt: bool = True
    """End where the answer begins."""
    is_continued: bool = False
    """The last message goes on, without an end."""

    @classmethod
    def of(
        cls,
        messages: Any,
        tools: Any = None,
        documents: Any = None,
        variables: Any = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool | None = None,
    ) -> Self:
        """Checks what a request has; RequestError. `continue_final_message` None: if it is the
        assistant's."""
        checked = checked_messages(messages)
        last = checked[-1]
        can_continue = last["role"] == "assistant" and "tool_calls" not in last
        for name, value in (
            ("add_generation_prompt", add_generation_prompt),
            ("continue_final_message", continue_final_message),
        ):
            if not isinstance(value, bool) and (value is not None or name == "add_generation_prompt"):
                raise RequestError(f"{name} must be a bool, not {value!r:.100}")
        if continue_final_message is None:
            continue_final_message = can_continue and add_generation_prompt
        elif continue_final_message and not can_continue:
            raise RequestError(
                "continue_final_message=True needs a last message of the assistant, without calls, not one of"
                f" the {last['role']}"
            )
        if variables is not None and not isinstance(variables, Mapping):
            raise RequestError(f"chat_template_kwargs must be a dict, not {variables!r:.100}")
        if documents is not None and not (
            isinstance(documents, list | tuple) and all(isinstance(each, Mapping) for each in documents)
        ):
            raise RequestError(f"documents must be a list of dicts, not {documents!r:.100}")
        return cls(
            checked,
            checked_tools(tools),
            plain(documents or [], "documents"),
            plain(variables or {}, "chat_template_kwargs"),
            add_generation_prompt,
            continue_final_message,
        )


_ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")


def checked_messages(messages: Any) -> list[dict[str, Any]]:
    """Copies of the messages, with JSON's types alone: texts of several parts are one text, and arguments of
    calls are objects.

    A message is a `ChatMessage` or a mapping: {"role": "user", "content": "…"}. `content` may be a list of
    {"type": "text", "text": "…"}; it may be missing or None where there are `tool_calls`. Other entries
    ("name", "tool_call_id", …) are for the template. Raises RequestError for anything else.
    """
    is_list = isinstance(messages, Sequence) and not isinstance(messages, str | bytes)
    if not is_list or not messages:
        raise RequestError(f"messages must be a list of at least one message, not {messages!r:.100}")
    return [_checked(message, f"messages[{i}]") for i, message in enumerate(messages)]


def turns(messages: Sequence[Mapping[str, Any]]) -> tuple[int, list[int]]:
    """How many messages stand before the first user's, and where each turn begins: a user's message, with all
    that comes after it until the next one."""
    starts = [i for i, message in enumerate(messages) if message["role"] == "user"]
    return (starts[0] if starts else len(messages)), starts


def _checked(message: Any, name: str) -> dict[str, Any]:
    if isinstance(message, ChatMessage):
        message = message.as_dict()
    if not isinstance(message, Mapping):
        raise RequestError(f'{name} must be {{"role": …, "content": …}}, not {message!r:.100}')
    role = message.get("role")
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        raise RequestError(
            f'{name}["role"] must be a word such as "user", "assistant" or "tool", not {role!r:.100}'
        )
    given = {key: value for key, value in message.items() if key not in ("content", "tool_calls")}
    checked: dict[str, Any] = plain(given, name)
    calls = message.get("tool_calls")
    if calls is not None and not (isinstance(calls, Sequence) and not isinstance(calls, str | bytes)):
        raise RequestError(f'{name}["tool_calls"] must be a list of calls, not {calls!r:.100}')
    if calls or message.get("content") is not None:
        checked["content"] = _content(message.get("content"), f'{name}["content"]')
    else:
        raise RequestError(
            f'{name} must have a "content" that is a text, not {message.get("content")!r:.100}'
        )
    if calls:
        checked["tool_calls"] = [_call(call, f'{name}["tool_calls"][{i}]') for i, call in enumerate(calls)]
    for key in ("reasoning", "reasoning_content"):
        if checked.get(key) is not None and not isinstance(checked[key], str):
            raise RequestError(f'{name}["{key}"] must be a text, not {checked[key]!r:.100}')
    return checked


def _content(content: Any, name: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return str(plain(content, name))
    if not isinstance(content, list | tuple):
        raise RequestError(f"{name} must be a text, not {content!r:.100}")
    texts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(plain(part["text"], f"{name}[{i}]"))
        elif isinstance(kind, str) and kind != "text":
            raise RequestError(
                f"{name}[{i}] is of type {kind!r:.40}: nybble reads text, and no images or sound"
            )
        else:
            raise RequestError(f'{name}[{i}] must be {{"type": "text", "text": …}}, not {part!r:.100}')
    return "".join(texts)


def _call(call: Any, name: str) -> dict[str, Any]:
    """A call with an id or without, and arguments that are an object."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        form = '{"id": …, "type": "function", "function": {"name": …, "arguments": …}}'
        raise RequestError(f"{name} must be {form}, not {call!r:.100}")
    if call.get("type", "function") != "function":
        raise RequestError(f'{name}["type"] must be "function", not {call["type"]!r:.100}')
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{name}: its arguments must be a JSON object: {error}") from error
    if not isinstance(arguments, Mapping):
        raise RequestError(f"{name}: its arguments must be a JSON object, not {arguments!r:.100}")
    checked: dict[str, Any] = plain({**call, "function": {**function, "arguments": arguments}}, name)
    return {"type": "function", **checked}
