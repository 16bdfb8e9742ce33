"""`/v1/messages` and `/v1/messages/count_tokens` of the Anthropic API."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from ...engine.chat.message import ChatDelta
from ..schema.sampling import sampling_params
from ..wire.errors import APIError, error_body
from ..wire.sse import event
from ..work.call import Call, Events, Reply
from ..work.generating import ChatAsk, all_of, answering, in_thread, news_of
from ..work.inside import receipt_field, steering_option
from ..work.runner import Running
from ..work.segments import Segment, segments
from ..work.served_model import ServedModel
from .anthropic_messages import chat_messages
from .openai_chat import finish_reason
from .tools import chat_tools

_PING = event({"type": "ping"}, "ping")
_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "stop": "end_turn"}
_STARTS: dict[str, dict[str, str]] = {
    "reasoning": {"type": "thinking", "thinking": "", "signature": ""},
    "content": {"type": "text", "text": ""},
}


async def messages(call: Call) -> Reply | Events:
    """Answers a conversation."""
    if call.fields["stream"]:
        return Events(_events(call), _failure, _PING)
    model = await call.model(call.fields["model"])
    ask = _ask(call, model)
    async with answering(call, model, ask) as running:
        (deltas,) = await all_of(call, running, ask.is_one_call)
        return Reply(
            {
                **_head(call, model),
                "content": [_block(segment) for segment in segments(deltas)],
                **_end(call, model, running, deltas),
                "usage": _usage(running),
                **await receipt_field(call, model, running.choices[0]),
            }
        )


async def count_tokens(call: Call) -> Reply:
    """How many tokens a conversation has."""
    given = call.fields
    model = await call.model(given["model"])
    conversation, tools = chat_messages(given), chat_tools(given["tools"], "input_schema")

    def work() -> int:
        return len(model.backend.render(conversation, tools=tools).token_ids)

    return Reply({"input_tokens": await in_thread(call, model, work)})


async def _events(call: Call) -> AsyncGenerator[bytes]:
    model = await call.model(call.fields["model"])
    ask = _ask(call, model)
    async with answering(call, model, ask) as running:
        deltas: list[ChatDelta] = []
        has_begun, index, kind = False, -1, ""
        async for ((_, new, _),) in news_of(call, running, ask.is_one_call):
            parts = []
            if not has_begun:
                has_begun = True
                message = {
                    **_head(call, model),
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": _usage(running),
                }
                parts += [_event("message_start", message=message), _PING]
            deltas += new
            for segment in segments(new):
                if segment.kind != kind or segment.kind == "call":
                    if kind:
                        parts.append(_event("content_block_stop", index=index))
                    index, kind = index + 1, segment.kind
                    parts.append(_event("content_block_start", index=index, content_block=_start(segment)))
                parts.append(_event("content_block_delta", index=index, delta=_delta(segment)))
            if parts:
                yield b"".join(parts)
        parts = [_event("content_block_stop", index=index)] if kind else []
        more = {"usage": _usage(running), **await receipt_field(call, model, running.choices[0])}
        parts.append(_event("message_delta", delta=_end(call, model, running, deltas), **more))
        yield b"".join([*parts, _event("message_stop")])


def _event(kind: str, **facts: Any) -> bytes:
    return event({"type": kind, **facts}, kind)


def _failure(error: APIError) -> bytes:
    return event(error_body(error, "/v1/messages"), "error")


def _head(call: Call, model: ServedModel) -> dict[str, Any]:
    return {"id": f"msg_{call.id}", "type": "message", "role": "assistant", "model": model.name}


def _end(call: Call, model: ServedModel, running: Running, deltas: list[ChatDelta]) -> dict[str, Any]:
    """Why it has ended. A stop string is among the tokens, and not in the text."""
    choice = running.choices[0]
    reason = finish_reason(call, choice.finish_reason, deltas)
    stops, found = call.fields["stop_sequences"] or (), None
    if reason == "stop" and stops:
        text = model.backend.tokenizer.decode(choice.token_ids, skip_special_tokens=False)
        places = {text.find(stop): stop for stop in stops if stop in text}
        found = places[min(places)] if places else None
    return {
        "stop_reason": "stop_sequence" if found is not None else _REASONS[reason],
        "stop_sequence": found,
    }


def _usage(running: Running) -> dict[str, int]:
    (stream,) = running.streams
    return {
        "input_tokens": stream.n_prompt_tokens - stream.n_cached_tokens,
        "cache_read_input_tokens": stream.n_cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": len(running.choices[0].token_ids),
    }


def _block(segment: Segment) -> dict[str, Any]:
    if segment.kind == "call":
        return {**_start(segment), "input": json.loads(segment.call.function.arguments or "{}")}
    start = _start(segment)
    return {**start, "thinking" if segment.kind == "reasoning" else "text": segment.text}


def _start(segment: Segment) -> dict[str, Any]:
    if segment.kind == "call":
        return {"type": "tool_use", "id": segment.call.id, "name": segment.call.function.name, "input": {}}
    return dict(_STARTS[segment.kind])


def _delta(segment: Segment) -> dict[str, str]:
    match segment.kind:
        case "call":
            return {"type": "input_json_delta", "partial_json": segment.call.function.arguments}
        case "reasoning":
            return {"type": "thinking_delta", "thinking": segment.text}
        case _:
            return {"type": "text_delta", "text": segment.text}


def _ask(call: Call, model: ServedModel) -> ChatAsk:
    given = call.fields
    output = (given["output_config"] or {}).get("format")
    params = sampling_params(
        given,
        model.defaults,
        call.settings.n_seq_max,
        max_tokens=given["max_tokens"],
        stop=given["stop_sequences"],
        json_schema=output["schema"] if output else None,
        cache_salt=call.cache_salt,
    )
    choice: Mapping[str, Any] = given["tool_choice"] or {"type": "auto"}
    chosen: Any = "required" if choice["type"] == "any" else choice["type"]
    tools = chat_tools(given["tools"], "input_schema")
    if choice["type"] == "tool":
        chosen = {"type": "function", "function": {"name": choice.get("name")}}
    return ChatAsk(
        chat_messages(given),
        params,
        {"tools": tools, "tool_choice": chosen, **steering_option(call)},
        is_one_call=bool(choice.get("disable_parallel_tool_use")),
        wishes=_wishes(given["thinking"]),
        renamed={"json_schema": "output_config", "stop": "stop_sequences"},
    )


def _wishes(thinking: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if thinking is None else {"enable_thinking": thinking["type"] != "disabled"}
