"""Conversations of the Anthropic API as templates know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..wire.errors import bad_field

_BILLING = "x-anthropic-billing-header:"
"""Claude Code begins its system prompt with a line that is different each time, which would keep the prompts
from sharing what is computed; it says nothing to a model."""


def chat_messages(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages, with what the system says before them."""
    found: list[dict[str, Any]] = []
    if given["system"] is not None and (system := _text(given["system"], "system")):
        found.append({"role": "system", "content": system})
    for i, message in enumerate(given["messages"]):
        name, content = f"messages[{i}].content", message["content"]
        if isinstance(content, str):
            found.append({"role": message["role"], "content": content})
        elif message["role"] == "assistant":
            found.append(_assistant(content, name))
        else:
            found += _user(content, message["role"], name)
    return found


def _assistant(blocks: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    texts, thoughts, calls = [], [], []
    for i, block in enumerate(blocks):
        match block["type"]:
            case "text":
                texts.append(_part(block, "text", f"{name}[{i}]"))
            case "thinking":
                thoughts.append(_part(block, "thinking", f"{name}[{i}]"))
            case "redacted_thinking":
                pass  # nobody can read it
            case "tool_use":
                function = {"name": block.get("name"), "arguments": block.get("input") or {}}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            case other:
                raise bad_field(f"{name}[{i}]", f"is of type {other!r:.40}, which is not supported")
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if thoughts:
        message["reasoning"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return message


def _user(blocks: Sequence[Mapping[str, Any]], role: str, name: str) -> list[dict[str, Any]]:
    """Results of tools are messages of their own."""
    results: list[dict[str, Any]] = []
    texts = []
    for i, block in enumerate(blocks):
        match block["type"]:
            case "text":
                texts.append(_part(block, "text", f"{name}[{i}]"))
            case "tool_result":
                content = block.get("content") or ""
                text = content if isinstance(content, str) else _text(content, f"{name}[{i}].content")
                results.append({"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": text})
            case other:
                raise bad_field(
                    f"{name}[{i}]", f"is of type {other!r:.40}: nybble reads text, and no images or sound"
                )
    return results + ([{"role": role, "content": "".join(texts)}] if texts or not results else [])


def _text(content: Any, name: str) -> str:
    """The text of a string or of blocks of text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_field(name, "must be a text or a list of blocks")
    texts = []
    for i, block in enumerate(content):
        if not isinstance(block, dict) or block.get("type") != "text":
            raise bad_field(f"{name}[{i}]", "must be a block of text: nybble reads no images or sound")
        text = _part(block, "text", f"{name}[{i}]")
        if not text.startswith(_BILLING):
            texts.append(text)
    return "\n\n".join(texts) if name == "system" else "".join(texts)


def _part(block: Mapping[str, Any], key: str, name: str) -> str:
    text = block.get(key)
    if not isinstance(text, str):
        raise bad_field(f"{name}.{key}", "must be a text")
    return text
