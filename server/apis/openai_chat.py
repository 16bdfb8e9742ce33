"""`/v1/chat/completions` of the OpenAI API."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from ...engine.chat.message import ChatDelta, ChatMessage
from ...engine.generation.logprobs import TokenLogprob
from ..schema.sampling import finite, sampling_params
from ..wire.errors import APIError, bad_field, error_body
from ..wire.sse import DONE, TEXT, event, event_form
from ..work.call import Call, Events, Reply
from ..work.generating import ChatAsk, all_of, answering, news_of
from ..work.inside import activations_field, receipt_field, steering_option
from ..work.runner import Running
from ..work.served_model import ServedModel

RENAMED = {"json_schema": "response_format", "json_object": "response_format"}


async def chat(call: Call) -> Reply | Events:
    """Answers a conversation."""
    if call.fields["stream"]:
        require_whole(call.fields)
        return Events(_chunks(call), failure)
    model, ask, head = await _begun(call)
    async with answering(call, model, ask) as running:
        inside = await activations_field(call, model, running.streams[0], ask.options.get("edit"))
        deltas = await all_of(call, running, ask.is_one_call)
        choices = [
            {
                "index": i,
                "message": message_json(joined(deltas[i])),
                "logprobs": logprobs_json(choice.logprobs),
                "finish_reason": finish_reason(call, choice.finish_reason, deltas[i]),
                **await receipt_field(call, model, choice),
            }
            for i, choice in enumerate(running.choices)
        ]
        usage = usage_json(running)
    answer = {**head, "object": "chat.completion", "choices": choices, "usage": usage, **inside}
    return Reply(answer, is_large=bool(inside))


async def _begun(call: Call) -> tuple[ServedModel, ChatAsk, Mapping[str, Any]]:
    """The model, what it is asked, and what all answers begin with."""
    model = await call.model(call.fields["model"])
    head = {
        "id": f"chatcmpl-{call.id}",
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": model.fingerprint,
    }
    return model, _ask(call, model), head


async def _chunks(call: Call) -> AsyncGenerator[bytes]:
    model, ask, head = await _begun(call)
    has_usage = (call.fields["stream_options"] or {}).get("include_usage")
    head = {**head, "object": "chat.completion.chunk"}
    extra = {"usage": None} if has_usage else {}

    def shown(
        i: int, delta: Mapping[str, Any], reason: str | None = None, logprobs: Any = None, **more: Any
    ) -> Any:
        choice = {"index": i, "delta": delta, "logprobs": logprobs, "finish_reason": reason, **more}
        return {**head, "choices": [choice], **extra}

    def chunk(
        i: int, delta: Mapping[str, Any], reason: str | None = None, logprobs: Any = None, **more: Any
    ) -> bytes:
        if len(delta) == 1 and "content" in delta and logprobs is None and reason is None:
            return forms[i](delta["content"])
        return event(shown(i, delta, reason, logprobs, **more))

    async with answering(call, model, ask) as running:
        forms = [event_form(shown(i, {"content": TEXT})) for i in range(len(running.choices))]
        n_told = [0] * len(running.choices)
        begun: set[int] = set()
        deltas: list[list[ChatDelta]] = [[] for _ in running.choices]
        async for news in news_of(call, running, ask.is_one_call):
            parts = []
            for i, new, is_done in news:
                choice = running.choices[i]
                deltas[i] += [ChatDelta(tool_calls=delta.tool_calls) for delta in new if delta.tool_calls]
                if i not in begun:
                    begun.add(i)
                    parts.append(chunk(i, {"role": "assistant", "content": None}))
                logprobs = None
                if choice.logprobs is not None:
                    logprobs = logprobs_json(choice.logprobs[n_told[i] :])
                    n_told[i] = len(choice.logprobs)
                for delta in _deltas_json(new):
                    parts.append(chunk(i, delta, logprobs=logprobs))
                    logprobs = None
                if is_done:
                    reason = finish_reason(call, choice.finish_reason, deltas[i])
                    last = logprobs if logprobs and logprobs["content"] else None
                    parts.append(chunk(i, {}, reason, last, **await receipt_field(call, model, choice)))
            yield b"".join(parts)
        if has_usage:
            yield event({**head, "choices": [], "usage": usage_json(running)})
    yield DONE


def failure(error: APIError) -> bytes:
    """An error in the middle of a stream."""
    return event(error_body(error, "/v1/chat/completions")) + DONE


def finish_reason(call: Call, reason: str | None, deltas: Sequence[ChatDelta] = ()) -> str:
    """Why a text has ended, as the API has it: a loop is cut as `max_tokens` would cut it."""
    if any(delta.tool_calls for delta in deltas) and reason in (None, "stop", "tool_calls", "cancelled"):
        reason = "tool_calls"
    call.usage.finish_reasons.append(reason or "stop")
    return {"repetition": "length", "cancelled": "stop"}.get(reason or "stop", reason or "stop")


def usage_json(running: Running) -> dict[str, Any]:
    """The tokens of a request."""
    n_prompt = sum(stream.n_prompt_tokens for stream in running.streams)
    n_generated = sum(len(choice.token_ids) for choice in running.choices)
    n_cached = sum(stream.n_cached_tokens for stream in running.streams)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_generated,
        "total_tokens": n_prompt + n_generated,
        "prompt_tokens_details": {"cached_tokens": n_cached},
    }


def joined(deltas: Sequence[ChatDelta]) -> ChatMessage:
    """The message of all pieces."""
    content = "".join(delta.content for delta in deltas)
    reasoning = "".join(delta.reasoning for delta in deltas)
    calls = tuple(each for delta in deltas for each in delta.tool_calls)
    return ChatMessage(
        content=None if calls and not content else content,
        reasoning=reasoning or None,
        tool_calls=calls,  # type: ignore[arg-type]  # they have what calls have
    )


def message_json(message: ChatMessage) -> dict[str, Any]:
    """A message, with its reasoning under both names that clients know."""
    found = message.as_dict()
    if message.reasoning is not None:
        found["reasoning_content"] = message.reasoning
    return found


def logprobs_json(entries: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    """Log-probabilities of tokens."""
    return None if entries is None else {"content": [_entry(entry) for entry in entries]}


def _entry(entry: TokenLogprob) -> dict[str, Any]:
    top = [
        {"token": each.token, "logprob": finite(each.logprob), "bytes": each.bytes}
        for each in entry.top_logprobs
    ]
    return {
        "token": entry.token,
        "logprob": finite(entry.logprob),
        "bytes": entry.bytes,
        "top_logprobs": top,
    }


def _deltas_json(deltas: Sequence[ChatDelta]) -> list[dict[str, Any]]:
    """Pieces as the API has them: those of the same kind that came together are one."""
    found: list[dict[str, Any]] = []
    for delta in deltas:
        for kinds, text in (
            (("content",), delta.content),
            (("reasoning_content", "reasoning"), delta.reasoning),
        ):
            if text and found and kinds[0] in found[-1]:
                found[-1] = {kind: found[-1][kind] + text for kind in kinds}
            elif text:
                found.append(dict.fromkeys(kinds, text))
        for each in delta.tool_calls:
            name = {"name": each.function.name, "arguments": ""}
            found.append(
                {"tool_calls": [{"index": each.index, "id": each.id, "type": each.type, "function": name}]}
            )
            arguments = {"arguments": each.function.arguments}
            found.append({"tool_calls": [{"index": each.index, "function": arguments}]})
    return found


def _ask(call: Call, model: ServedModel) -> ChatAsk:
    given = call.fields
    if given["top_logprobs"] is not None and not given["logprobs"]:
        raise bad_field("top_logprobs", "needs logprobs: true")
    params = sampling_params(
        given,
        model.defaults,
        call.settings.n_seq_max,
        max_tokens=given["max_completion_tokens"] or given["max_tokens"],
        n=given["n"],
        logprobs=(given["top_logprobs"] or 0) if given["logprobs"] else None,
        cache_salt=call.cache_salt,
        **constraint(given["response_format"]),
    )
    variables = dict(given["chat_template_kwargs"] or {})
    effort = given["reasoning_effort"]
    if effort not in (None, "none"):
        variables["reasoning_effort"] = effort
    return ChatAsk(
        [openai_message(message) for message in given["messages"]],
        params,
        {
            "tools": given["tools"] or None,
            "tool_choice": "auto" if given["tool_choice"] is None else given["tool_choice"],
            "chat_template_kwargs": variables or None,
            "continue_final_message": given["continue_final_message"],
            **steering_option(call),
        },
        is_one_call=given["parallel_tool_calls"] is False,
        wishes={"enable_thinking": False} if effort == "none" else {},
        renamed=RENAMED | ({} if effort is None else {"chat_template_kwargs": "reasoning_effort"}),
    )


def require_whole(given: Mapping[str, Any]) -> None:
    """`APIError` for a stream that shall have what only whole answers have."""
    if given["activations"] is not None:
        raise bad_field("activations", "needs stream: false")


def constraint(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments of `SamplingParams` for a `response_format` with its fields checked."""
    kind = "text" if given is None else given["type"]
    if kind == "json_schema":
        if given is None or given["json_schema"] is None:
            raise bad_field("response_format", "of type json_schema must have a json_schema")
        return {"json_schema": given["json_schema"]["schema"]}
    return {"json_object": True} if kind == "json_object" else {}


def openai_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as templates know it: `developer` is OpenAI's newer word for `system`."""
    role = "system" if message["role"] == "developer" else message["role"]
    return {key: value for key, value in message.items() if value is not None} | {"role": role}
