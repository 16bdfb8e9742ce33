"""`/v1/completions` of the OpenAI API, with `echo` and `logprobs` as evaluation harnesses need them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ...engine.generation.logprobs import TokenLogprob
from ...engine.sampling.params import SamplingParams
from ..schema.sampling import finite, sampling_params
from ..wire.errors import bad_field
from ..wire.sse import DONE, event
from ..work.call import Call, Events, Reply
from ..work.generating import all_of, generating, news_of
from ..work.runner import Running, Streams, cancel_all
from ..work.served_model import ServedModel
from .openai_chat import RENAMED, constraint, failure, finish_reason, usage_json

Prompt = str | list[int]
_MAX_TOKENS = 16  # the API's default


async def complete(call: Call) -> Reply | Events:
    """Continues a text, token ids, or a list of these."""
    given = call.fields
    model = await call.model(given["model"])
    prompts = prompts_of(given["prompt"])
    for prompt in prompts:
        if isinstance(prompt, str):
            model.check_length(prompt)
    params = _params(call, model)
    if len(prompts) * params.n > call.settings.n_seq_max + call.settings.n_waiting_max:
        raise bad_field("n", f"times {len(prompts)} prompts is more than can wait here")
    head = {
        "id": f"cmpl-{call.id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": model.fingerprint,
    }
    start = partial(_start, model, prompts, params)
    if given["stream"]:
        return Events(_chunks(call, model, prompts, params, start, head), failure)
    async with generating(call, model, start, len(prompts) * params.n, RENAMED) as running:
        pieces = await all_of(call, running)
        choices = []
        for i, choice in enumerate(running.choices):
            is_silent = given["max_tokens"] == 0
            logprobs = None
            if given["logprobs"] is not None:
                first = _Tokens(model, prompts[i // params.n], running, i, params) if given["echo"] else None
                generated = () if is_silent else choice.logprobs or ()
                logprobs = _logprobs([*(first.entries() if first else ()), *map(_Entry.of, generated)])
            choices.append(
                {
                    "index": i,
                    "text": "".join(pieces[i][:1] if is_silent else pieces[i]),
                    "logprobs": logprobs,
                    "finish_reason": "length" if is_silent else finish_reason(call, choice.finish_reason),
                }
            )
        usage = usage_json(running)
    return Reply({**head, "choices": choices, "usage": usage}, is_large=given["logprobs"] is not None)


async def _chunks(
    call: Call,
    model: ServedModel,
    prompts: Sequence[Prompt],
    params: SamplingParams,
    start: Callable[[Callable[[], object]], Streams],
    head: Mapping[str, Any],
) -> AsyncGenerator[bytes]:
    given = call.fields
    has_usage = (given["stream_options"] or {}).get("include_usage")
    extra = {"usage": None} if has_usage else {}
    is_silent = given["max_tokens"] == 0
    async with generating(call, model, start, len(prompts) * params.n, RENAMED) as running:
        n_told, offsets = [0] * len(running.choices), [0] * len(running.choices)
        has_echo = [bool(given["echo"])] * len(running.choices)
        async for news in news_of(call, running):
            parts = []
            for i, pieces, is_done in news:
                choice, logprobs = running.choices[i], None
                if given["logprobs"] is not None and choice.logprobs:
                    entries = [] if is_silent else [*map(_Entry.of, choice.logprobs[n_told[i] :])]
                    if n_told[i] == 0 and given["echo"]:
                        entries[:0] = _Tokens(model, prompts[i // params.n], running, i, params).entries()
                    n_told[i] = len(choice.logprobs)
                    logprobs = _logprobs(entries, offsets[i])
                    offsets[i] += sum(len(entry.text) for entry in entries)
                text = "".join(pieces)
                if is_silent:
                    text = "".join(pieces[:1]) if has_echo[i] else ""
                    has_echo[i] = has_echo[i] and not pieces
                reason = None
                if is_done:
                    reason = "length" if is_silent else finish_reason(call, choice.finish_reason)
                part = {"index": i, "text": text, "logprobs": logprobs, "finish_reason": reason}
                parts.append(event({**head, "choices": [part], **extra}))
            yield b"".join(parts)
        if has_usage:
            yield event({**head, "choices": [], "usage": usage_json(running)})
    yield DONE


def prompts_of(given: Any) -> list[Prompt]:
    """The prompts of a field that holds a text, token ids, or a list of these."""
    is_one = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    return [given] if is_one else given


def _params(call: Call, model: ServedModel) -> SamplingParams:
    given = call.fields
    if given["max_tokens"] == 0 and not given["echo"]:
        raise bad_field("max_tokens", "must be at least 1, or 0 with echo: true")
    return sampling_params(
        given,
        model.defaults,
        call.settings.n_seq_max,
        max_tokens=_MAX_TOKENS if given["max_tokens"] is None else max(1, given["max_tokens"]),
        n=given["n"],
        echo=given["echo"],
        logprobs=given["logprobs"],
        prompt_logprobs=given["logprobs"] if given["echo"] else None,
        cache_salt=call.cache_salt,
        **constraint(given["response_format"]),
    )


def _start(
    model: ServedModel, prompts: Sequence[Prompt], params: SamplingParams, on_news: Callable[[], object]
) -> Streams:
    streams: list[Any] = []
    try:
        for prompt in prompts:
            streams.append(model.backend.submit(prompt, params, on_news=on_news))
    except BaseException:
        cancel_all(streams)
        raise
    return streams


class _Entry:
    """A token, its log-probability (None: the first one, which nothing comes before), and the likeliest."""

    def __init__(self, text: str, logprob: float | None, top: dict[str, float] | None) -> None:
        self.text, self.logprob, self.top = text, logprob, top

    @classmethod
    def of(cls, found: TokenLogprob) -> _Entry:
        """From what the engine says of a token."""
        top = {_name(each): finite(each.logprob) for each in (*found.top_logprobs, found)}
        return cls(_name(found), finite(found.logprob), top)


class _Tokens:
    """The tokens of the prompt of text i."""

    def __init__(
        self, model: ServedModel, prompt: Prompt, running: Running, i: int, params: SamplingParams
    ) -> None:
        tokenizer = model.backend.tokenizer
        ids = tokenizer.encode(prompt, parse_special=True) if isinstance(prompt, str) else prompt
        raw = tokenizer.token_bytes(ids[0], skip_special_tokens=False)
        self._first = _Entry(raw.decode(errors="replace"), None, None)
        # All texts of a prompt share its tokens; the first one has what was found of them.
        self._found = running.choices[i - i % params.n].output().prompt_logprobs

    def entries(self) -> list[_Entry]:
        """An entry for each."""
        return [self._first if each is None else _Entry.of(each) for each in self._found or ()]


def _logprobs(entries: Sequence[_Entry], offset: int = 0) -> dict[str, Any]:
    offsets = []
    for entry in entries:
        offsets.append(offset)
        offset += len(entry.text)
    return {
        "tokens": [entry.text for entry in entries],
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": [entry.top for entry in entries],
        "text_offset": offsets,
    }


def _name(found: TokenLogprob) -> str:
    """The token's text; of bytes that are a part of a character the bytes, or several would have one name."""
    if "\ufffd" not in found.token:
        return found.token
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in found.bytes)
