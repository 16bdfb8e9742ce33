"""`/v1/completions` of the OpenAI API, with `echo` and `logprobs` as evaluation harnesses need them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, NamedTuple

from ...engine.generation.logprobs import TokenLogprob
from ...engine.hooks.taps import Edits
from ...engine.sampling.params import SamplingParams
from ...system.asker import check_asker
from ..schema.sampling import finite, sampling_params
from ..wire.errors import bad_field
from ..wire.sse import DONE, TEXT, event, event_form
from ..work.call import Call, Events, Reply
from ..work.generating import all_of, generating, news_of
from ..work.inside import activations_field, receipt_field, steering_of
from ..work.runner import Running, Streams, cancel_all
from ..work.served_model import ServedModel
from .openai_chat import RENAMED, constraint, failure, finish_reason, require_whole, usage_json

Prompt = str | list[int]
_MAX_TOKENS = 16  # the API's default


class _Asked(NamedTuple):
    """What is asked of a model."""

    model: ServedModel
    prompts: Sequence[Prompt]
    params: SamplingParams
    edits: Edits | None
    suffix: str
    head: Mapping[str, Any]
    """What all answers begin with."""

    def generating(self, call: Call) -> AbstractAsyncContextManager[Running]:
        """The texts, as long as the context."""
        start = partial(_start, self.model, self.prompts, self.suffix, self.params, self.edits)
        return generating(call, self.model, start, len(self.prompts) * self.params.n, RENAMED)


async def _asked(call: Call) -> _Asked:
    given = call.fields
    model = await call.model(given["model"])
    prompts, suffix = prompts_of(given["prompt"]), given["suffix"] or ""
    if suffix and given["echo"]:
        raise bad_field("suffix", "cannot go with echo")
    if suffix and not all(isinstance(prompt, str) for prompt in prompts):
        raise bad_field("suffix", "needs a prompt that is a text")
    for prompt in (*prompts, suffix):
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
    if given["activations"] is not None and len(prompts) > 1:
        raise bad_field("activations", f"needs a single prompt, not {len(prompts)}")
    return _Asked(model, prompts, params, steering_of(call), suffix, head)


async def complete(call: Call) -> Reply | Events:
    """Continues a text, token ids, or a list of these; with `suffix`, up to what comes then."""
    given = call.fields
    if given["stream"]:
        require_whole(given)
        return Events(_chunks(call), failure)
    asked = await _asked(call)
    model, prompts, params, edits, _, head = asked
    async with asked.generating(call) as running:
        inside = await activations_field(call, model, running.streams[0], edits)
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
                    "text": "".join(_silent(given, pieces[i]) if is_silent else pieces[i]),
                    "logprobs": logprobs,
                    "finish_reason": "length" if is_silent else finish_reason(call, choice.finish_reason),
                    **await receipt_field(call, model, choice),
                }
            )
        usage = usage_json(running)
    is_large = bool(inside) or given["logprobs"] is not None
    return Reply({**head, "choices": choices, "usage": usage, **inside}, is_large=is_large)


async def _chunks(call: Call) -> AsyncGenerator[bytes]:
    given, asked = call.fields, await _asked(call)
    model, prompts, params, _, _, head = asked
    has_usage = (given["stream_options"] or {}).get("include_usage")
    extra = {"usage": None} if has_usage else {}
    is_silent = given["max_tokens"] == 0

    def shown(
        i: int, text: str, logprobs: Any = None, reason: str | None = None, **more: Any
    ) -> dict[str, Any]:
        part = {"index": i, "text": text, "logprobs": logprobs, "finish_reason": reason, **more}
        return {**head, "choices": [part], **extra}

    async with asked.generating(call) as running:
        n_told, offsets = [0] * len(running.choices), [0] * len(running.choices)
        has_echo = [bool(given["echo"])] * len(running.choices)
        forms = [event_form(shown(i, TEXT)) for i in range(len(running.choices))]
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
                if logprobs is None and not is_done:
                    parts.append(forms[i](text))
                else:
                    more = await receipt_field(call, model, choice) if is_done else {}
                    parts.append(event(shown(i, text, logprobs, reason, **more)))
            yield b"".join(parts)
        if has_usage:
            yield event({**head, "choices": [], "usage": usage_json(running)})
    yield DONE


def _silent(given: Mapping[str, Any], pieces: Sequence[str]) -> Sequence[str]:
    """What is shown of a text of no tokens, for which one has been generated."""
    return pieces[:1] if given["echo"] else ()


def prompts_of(given: Any) -> list[Prompt]:
    """The prompts of a field that holds a text, token ids, or a list of these."""
    is_one = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    return [given] if is_one else given


def _params(call: Call, model: ServedModel) -> SamplingParams:
    given = call.fields
    if given["max_tokens"] == 0 and not given["echo"] and given["activations"] is None:
        raise bad_field("max_tokens", "must be at least 1, or 0 with echo: true or activations")
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
    model: ServedModel,
    prompts: Sequence[Prompt],
    suffix: str,
    params: SamplingParams,
    edits: Edits | None,
    on_news: Callable[[], object],
) -> Streams:
    streams: list[Any] = []
    try:
        for prompt in prompts:
            check_asker()  # each may wait for a step
            asked = model.infill(str(prompt), suffix) if suffix else prompt
            streams.append(model.backend.submit(asked, params, edit=edits, on_news=on_news))
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
