"""`/v1/responses` of the OpenAI API. Nothing is kept: a request has the whole conversation."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import count
from typing import Any

from ...engine.chat.message import ChatDelta
from ..schema.sampling import sampling_params
from ..wire.errors import APIError
from ..wire.sse import event
from ..work.call import Call, Events, Reply
from ..work.generating import ChatAsk, all_of, answering, news_of
from ..work.inside import receipt_field, steering_option
from ..work.runner import Running
from ..work.segments import Segment, segments
from ..work.served_model import ServedModel
from .openai_chat import constraint, finish_reason
from .response_items import chat_messages, item_json, part_json
from .tools import chat_tools

_IDS = {"call": "fc", "reasoning": "rs", "content": "msg"}
_TEXTS = {"reasoning": "reasoning_text", "content": "output_text"}


async def respond(call: Call) -> Reply | Events:
    """Answers a conversation."""
    if call.fields["stream"]:
        numbers = count()

        def told(kind: str, **facts: Any) -> bytes:
            return event({"type": kind, "sequence_number": next(numbers), **facts}, kind)

        def failure(error: APIError) -> bytes:
            code = error.code or error.type
            return told("error", code=code, message=error.message, param=error.param)

        return Events(_events(call, told), failure)
    model = await call.model(call.fields["model"])
    ask = _ask(call, model)
    async with answering(call, model, ask) as running:
        (deltas,) = await all_of(call, running, ask.is_one_call)
        receipt = await receipt_field(call, model, running.choices[0])
        return Reply({**_ended(call, model, running, deltas), **receipt})


async def _events(call: Call, told: Callable[..., bytes]) -> AsyncGenerator[bytes]:
    model = await call.model(call.fields["model"])
    ask = _ask(call, model)
    async with answering(call, model, ask) as running:
        deltas: list[ChatDelta] = []
        open_: Segment | None = None
        index = -1
        has_begun = False
        async for ((_, new, _),) in news_of(call, running, ask.is_one_call):
            parts = []
            if not has_begun:
                has_begun = True
                head = _head(call, model)
                parts += [
                    told("response.created", response=head),
                    told("response.in_progress", response=head),
                ]
            deltas += new
            for segment in segments(new):
                if open_ is None or segment.kind != open_.kind or segment.kind == "call":
                    if open_ is not None:
                        parts += _closed(told, call, index, open_)
                    index += 1
                    open_ = segment
                    parts += _opened(told, call, index, segment)
                else:
                    open_ = open_._replace(text=open_.text + segment.text)
                parts.append(_delta(told, call, index, segment))
            if parts:
                yield b"".join(parts)
        parts = [] if open_ is None else _closed(told, call, index, open_)
        receipt = await receipt_field(call, model, running.choices[0])
        ended = {**_ended(call, model, running, deltas), **receipt}
        yield b"".join([*parts, told(f"response.{ended['status']}", response=ended)])


def _opened(told: Callable[..., bytes], call: Call, index: int, segment: Segment) -> list[bytes]:
    id_ = _item_id(call, index, segment)
    found = [
        told("response.output_item.added", output_index=index, item=item_json(segment, id_, is_done=False))
    ]
    if segment.kind != "call":
        part = part_json(segment._replace(text=""))
        found.append(told("response.content_part.added", **_place(call, index, segment), part=part))
    return found


def _delta(told: Callable[..., bytes], call: Call, index: int, segment: Segment) -> bytes:
    place = _place(call, index, segment)
    if segment.kind == "call":
        arguments = segment.call.function.arguments
        return told("response.function_call_arguments.delta", **place, delta=arguments)
    extra: dict[str, Any] = {"logprobs": []} if segment.kind == "content" else {}
    return told(f"response.{_TEXTS[segment.kind]}.delta", **place, delta=segment.text, **extra)


def _closed(told: Callable[..., bytes], call: Call, index: int, segment: Segment) -> list[bytes]:
    place, id_ = _place(call, index, segment), _item_id(call, index, segment)
    if segment.kind == "call":
        function = segment.call.function
        kind = "response.function_call_arguments.done"
        found = [told(kind, **place, name=function.name, arguments=function.arguments)]
    else:
        extra: dict[str, Any] = {"logprobs": []} if segment.kind == "content" else {}
        found = [
            told(f"response.{_TEXTS[segment.kind]}.done", **place, text=segment.text, **extra),
            told("response.content_part.done", **place, part=part_json(segment)),
        ]
    item = item_json(segment, id_, is_done=True)
    return [*found, told("response.output_item.done", output_index=index, item=item)]


def _place(call: Call, index: int, segment: Segment) -> dict[str, Any]:
    where = {"item_id": _item_id(call, index, segment), "output_index": index}
    return where if segment.kind == "call" else {**where, "content_index": 0}


def _item_id(call: Call, index: int, segment: Segment) -> str:
    return f"{_IDS[segment.kind]}_{call.id}{index}"


def _head(call: Call, model: ServedModel) -> dict[str, Any]:
    given = call.fields
    params = _ask(call, model).params
    return {
        "id": f"resp_{call.id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": model.name,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": given["instructions"],
        "max_output_tokens": given["max_output_tokens"],
        "metadata": {},
        "parallel_tool_calls": given["parallel_tool_calls"] is not False,
        "previous_response_id": None,
        "reasoning": {"effort": (given["reasoning"] or {}).get("effort"), "summary": None},
        "store": False,
        "temperature": params.temperature,
        "text": {"format": _given_format(given["text"])},
        "tool_choice": given["tool_choice"] or "auto",
        "tools": given["tools"] or [],
        "top_p": params.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _ended(call: Call, model: ServedModel, running: Running, deltas: Sequence[ChatDelta]) -> dict[str, Any]:
    (stream,), (choice,) = running.streams, running.choices
    is_cut = finish_reason(call, choice.finish_reason, deltas) == "length"
    n_prompt, n_generated = stream.n_prompt_tokens, len(choice.token_ids)
    return {
        **_head(call, model),
        "status": "incomplete" if is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "output": [
            item_json(segment, _item_id(call, i, segment), is_done=True)
            for i, segment in enumerate(segments(deltas))
        ],
        "usage": {
            "input_tokens": n_prompt,
            "input_tokens_details": {"cached_tokens": stream.n_cached_tokens},
            "output_tokens": n_generated,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": n_prompt + n_generated,
        },
    }


def _given_format(text: Any) -> dict[str, Any]:
    found = (text or {}).get("format") or {"type": "text"}
    return {key: value for key, value in found.items() if value is not None}


def _ask(call: Call, model: ServedModel) -> ChatAsk:
    given = call.fields
    format_ = (given["text"] or {}).get("format")
    if format_ is not None and format_["type"] == "json_schema":
        named = None if format_["schema"] is None else {"schema": format_["schema"]}
        format_ = {"type": "json_schema", "json_schema": named}
    effort = (given["reasoning"] or {}).get("effort")
    params = sampling_params(
        given,
        model.defaults,
        call.settings.n_seq_max,
        max_tokens=given["max_output_tokens"],
        cache_salt=call.cache_salt,
        **constraint(format_),
    )
    choice = given["tool_choice"] or "auto"
    if isinstance(choice, dict):
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    return ChatAsk(
        chat_messages(given["input"], given["instructions"]),
        params,
        {
            "tools": chat_tools(given["tools"], "parameters"),
            "tool_choice": choice,
            **steering_option(call),
            "chat_template_kwargs": {"reasoning_effort": effort} if effort not in (None, "none") else None,
        },
        is_one_call=given["parallel_tool_calls"] is False,
        wishes={"enable_thinking": False} if effort == "none" else {},
        renamed={
            "json_schema": "text",
            "json_object": "text",
            "chat_template_kwargs": "reasoning",
            "messages": "input",
        },
    )
