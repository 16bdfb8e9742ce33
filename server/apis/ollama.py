"""`/api/chat`, `/api/generate` and `/api/embed` of Ollama's API."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ...engine.chat.message import ChatDelta, ChatMessage
from ..models.entry import Entry
from ..schema.sampling import MANY, sampling_params
from ..wire.errors import APIError, bad_field
from ..wire.json_body import dumped
from ..work.call import Call, Events, Reply
from ..work.generating import ChatAsk, all_of, answering, generating, news_of
from ..work.inside import receipt_field, steering_of, steering_option
from ..work.runner import Running, Streams
from ..work.served_model import ServedModel
from .embeddings import embedded, embedding_model
from .openai_chat import finish_reason, joined, logprobs_json

_LINES = "application/x-ndjson"


async def chat(call: Call) -> Reply | Events:
    """Answers a conversation; without messages it loads the model, or unloads it."""
    if not call.fields["messages"]:
        return await _kept(call, {"message": {"role": "assistant", "content": ""}})
    model = await call.model(call.fields["model"], call.fields["keep_alive"])
    ask = _ask(call, model, [_message(message) for message in call.fields["messages"]])
    return await _answered(call, model, ask, _message_json)


async def generate(call: Call) -> Reply | Events:
    """Continues a text: in the chat template as an answer to it, with `raw` as it is, or with `suffix` up to
    what comes then; without a prompt it loads the model, or unloads it."""
    given = call.fields
    prompt, suffix = given["prompt"], given["suffix"] or ""
    if not prompt and not suffix:
        return await _kept(call, {"response": ""})
    if suffix and given["system"]:
        raise bad_field("system", "has no place in a text with suffix")
    model = await call.model(given["model"], given["keep_alive"])
    if given["raw"] or suffix:
        return await _continued(call, model, prompt or "", suffix)
    system = [{"role": "system", "content": given["system"]}] if given["system"] else []
    ask = _ask(call, model, [*system, {"role": "user", "content": prompt}])
    return await _answered(call, model, ask, _response_json)


async def embed(call: Call) -> Reply:
    """A vector for each text. What does not fit into the context is an error, whatever `truncate` says."""
    given, model = call.fields, await embedding_model(call)
    texts = [given["input"]] if isinstance(given["input"], str) else given["input"]
    rows, n_tokens = await embedded(call, model, texts) if texts else ((), 0)
    facts = {
        "model": model.name,
        "embeddings": [row.tolist() for row in rows],
        "total_duration": _nanoseconds(time.perf_counter() - call.usage.began),
        "load_duration": _nanoseconds(call.usage.load_seconds),
        "prompt_eval_count": n_tokens,
    }
    return Reply(facts, is_large=True)


async def _kept(call: Call, empty: dict[str, Any]) -> Reply:
    """Loads the model, to stay as long as `keep_alive` says; 0 unloads it."""
    name, keep_alive = call.fields["model"], call.fields["keep_alive"]
    model: ServedModel | Entry
    if keep_alive == 0:
        model, reason = await call.models.unload(name), "unload"
    else:
        model, reason = await call.model(name, keep_alive), "load"
    return Reply({**_head(model), **empty, "done": True, "done_reason": reason})


async def _answered(
    call: Call, model: ServedModel, ask: ChatAsk, shown: Callable[[ChatMessage], dict[str, Any]]
) -> Reply | Events:
    if call.fields["stream"] is not False:
        return Events(_lines(call, model, ask, shown), _failure, ping=b"", media_type=_LINES)
    async with answering(call, model, ask) as running:
        (deltas,) = await all_of(call, running)
        message = joined(deltas)
        return Reply({**_head(model), **shown(message), **await _end(call, model, running, deltas)})


async def _lines(
    call: Call, model: ServedModel, ask: ChatAsk, shown: Callable[[ChatMessage], dict[str, Any]]
) -> AsyncGenerator[bytes]:
    async with answering(call, model, ask) as running:
        deltas: list[ChatDelta] = []
        n_told = 0
        async for ((_, new, _),) in news_of(call, running):
            deltas += new
            if new:
                logprobs = _logprobs(running, n_told)
                n_told = len(running.choices[0].token_ids)
                yield _line({**_head(model), **shown(joined(new)), **logprobs, "done": False})
        end = await _end(call, model, running, deltas, n_told)
        yield _line({**_head(model), **shown(ChatMessage(content="")), **end})


async def _continued(call: Call, model: ServedModel, prompt: str, suffix: str) -> Reply | Events:
    """The text after a prompt as it is, and before `suffix`."""
    model.check_length(prompt, suffix)
    params, edits = _params(call, model), steering_of(call)

    def start(on_news: Callable[[], object]) -> Streams:
        asked = model.infill(prompt, suffix) if suffix else prompt
        return [model.backend.submit(asked, params, edit=edits, on_news=on_news)]

    async def lines() -> AsyncGenerator[bytes]:
        async with generating(call, model, start, 1) as running:
            async for ((_, pieces, _),) in news_of(call, running):
                if pieces:
                    yield _line({**_head(model), "response": "".join(pieces), "done": False})
            yield _line({**_head(model), "response": "", **await _end(call, model, running, ())})

    if call.fields["stream"] is not False:
        return Events(lines(), _failure, ping=b"", media_type=_LINES)
    async with generating(call, model, start, 1) as running:
        (pieces,) = await all_of(call, running)
        return Reply({**_head(model), "response": "".join(pieces), **await _end(call, model, running, ())})


def _ask(call: Call, model: ServedModel, messages: Sequence[Mapping[str, Any]]) -> ChatAsk:
    given = call.fields
    think = given["think"]
    tools = given.get("tools") or None
    return ChatAsk(
        messages,
        _params(call, model),
        {
            "tools": tools,
            **steering_option(call),
            "chat_template_kwargs": {"reasoning_effort": think} if isinstance(think, str) else None,
        },
        wishes={"enable_thinking": think} if isinstance(think, bool) else {},
        renamed={
            "json_schema": "format",
            "json_object": "format",
            "max_tokens": "options",
            "chat_template_kwargs": "think",
        },
    )


def _params(call: Call, model: ServedModel) -> Any:
    given, options = call.fields, dict(call.fields["options"] or {})
    n_ctx = options.pop("num_ctx", None)
    if n_ctx is not None and n_ctx > model.backend.n_ctx:
        raise bad_field(
            "options.num_ctx", f"must be at most {model.backend.n_ctx}, the context of this server"
        )
    n_predict = options.pop("num_predict", None)
    if options.get("repeat_last_n") == -1:
        options["repeat_last_n"] = model.backend.n_ctx
    schema = given["format"] if isinstance(given["format"], dict) else None
    return sampling_params(
        options,
        model.defaults,
        call.settings.n_seq_max,
        max_tokens=n_predict if n_predict is None or n_predict > 0 else MANY,
        json_schema=schema,
        json_object=given["format"] == "json" or None,
        logprobs=(given["top_logprobs"] or 0) if given["logprobs"] else None,
        cache_salt=call.cache_salt,
    )


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in OpenAI's form."""
    found = {
        key: value
        for key, value in message.items()
        if value is not None and key not in ("images", "thinking", "tool_name")
    }
    if message["thinking"]:
        found["reasoning"] = message["thinking"]
    if message["tool_calls"]:
        found["tool_calls"] = [{**each, "type": "function"} for each in message["tool_calls"]]
    if message.get("tool_name") is not None:
        found["name"] = message["tool_name"]
    return found


def _message_json(message: ChatMessage) -> dict[str, Any]:
    found: dict[str, Any] = {"role": "assistant", "content": message.content or ""}
    if message.reasoning:
        found["thinking"] = message.reasoning
    if message.tool_calls:
        found["tool_calls"] = [
            {
                "id": each.id,
                "function": {
                    "name": each.function.name,
                    "arguments": json.loads(each.function.arguments or "{}"),
                },
            }
            for each in message.tool_calls
        ]
    return {"message": found}


def _response_json(message: ChatMessage) -> dict[str, Any]:
    return {
        "response": message.content or "",
        **({"thinking": message.reasoning} if message.reasoning else {}),
    }


def _head(model: ServedModel | Entry) -> dict[str, Any]:
    return {"model": model.name, "created_at": datetime.now(UTC).isoformat().replace("+00:00", "Z")}


async def _end(
    call: Call, model: ServedModel, running: Running, deltas: Sequence[ChatDelta], n_told: int = 0
) -> dict[str, Any]:
    choice, timings = running.choices[0], running.choices[0].timings
    reason = finish_reason(call, choice.finish_reason, deltas)
    return {
        **_logprobs(running, n_told),
        "done": True,
        "done_reason": "length" if reason == "length" else "stop",
        "total_duration": _nanoseconds(time.perf_counter() - call.usage.began),
        "load_duration": _nanoseconds(call.usage.load_seconds),
        "prompt_eval_count": choice.n_prompt_tokens,
        "prompt_eval_duration": _nanoseconds(timings.prefill_seconds),
        "eval_count": len(choice.token_ids),
        "eval_duration": _nanoseconds(timings.decode_seconds),
        **await receipt_field(call, model, choice),
    }


def _logprobs(running: Running, first: int) -> dict[str, Any]:
    entries = running.choices[0].logprobs
    found = logprobs_json(None if entries is None else entries[first:])
    return {} if found is None or not found["content"] else {"logprobs": found["content"]}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _line(value: Any) -> bytes:
    return dumped(value) + b"\n"


def _failure(error: APIError) -> bytes:
    return _line({"error": error.message})
