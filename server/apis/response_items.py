"""The items of the Responses API: what comes in as messages, and an answer as what goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..wire.errors import bad_field
from ..work.segments import Segment


def chat_messages(given: Any, instructions: str | None) -> list[dict[str, Any]]:
    """The conversation of `input`, a text or items, with the instructions before it."""
    found: list[dict[str, Any]] = []
    if instructions:
        found.append({"role": "system", "content": instructions})
    if isinstance(given, str):
        return [*found, {"role": "user", "content": given}]
    for i, item in enumerate(given):
        _add(found, item, f"input[{i}]")
    return found


def item_json(segment: Segment, id_: str, is_done: bool) -> dict[str, Any]:
    """A part of the answer; one that is not done is empty."""
    status = "completed" if is_done else "in_progress"
    match segment.kind:
        case "call":
            function = segment.call.function
            return {
                "type": "function_call",
                "id": id_,
                "call_id": segment.call.id,
                "name": function.name,
                "arguments": function.arguments if is_done else "",
                "status": status,
            }
        case "reasoning":
            content = [part_json(segment)] if is_done else []
            return {"type": "reasoning", "id": id_, "summary": [], "content": content, "status": status}
        case _:
            content = [part_json(segment)] if is_done else []
            return {"type": "message", "id": id_, "role": "assistant", "content": content, "status": status}


def part_json(segment: Segment) -> dict[str, Any]:
    """The text of an item."""
    if segment.kind == "reasoning":
        return {"type": "reasoning_text", "text": segment.text}
    return {"type": "output_text", "text": segment.text, "annotations": [], "logprobs": []}


def _add(found: list[dict[str, Any]], item: Mapping[str, Any], name: str) -> None:
    match item.get("type", "message"):
        case "message":
            role = item.get("role")
            content = item.get("content")
            text = content if isinstance(content, str) else _text(content, f"{name}.content")
            if role == "assistant":
                _assistant(found)["content"] += text
            else:
                found.append({"role": "system" if role == "developer" else role, "content": text})
        case "reasoning":
            message = _assistant(found, is_new=True)
            message["reasoning"] = _text(item.get("content") or [], f"{name}.content")
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            _assistant(found).setdefault("tool_calls", []).append(call)
        case "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str) else _text(output, f"{name}.output")
            found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": text})
        case other:
            raise bad_field(name, f"is of type {other!r:.40}, which is not supported")


def _assistant(found: list[dict[str, Any]], is_new: bool = False) -> dict[str, Any]:
    """The message to which an item of the assistant belongs: items in a row are one message."""
    if is_new or not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": ""})
    return found[-1]


def _text(content: Any, name: str) -> str:
    if not isinstance(content, list):
        raise bad_field(name, "must be a text or a list of parts")
    texts = []
    for i, part in enumerate(content):
        is_text = isinstance(part, dict) and isinstance(part.get("text"), str)
        if not is_text or part.get("type") not in ("input_text", "output_text", "reasoning_text", "text"):
            raise bad_field(f"{name}[{i}]", "must be a part of text: nybble reads no images, files or sound")
        texts.append(part["text"])
    return "".join(texts)
