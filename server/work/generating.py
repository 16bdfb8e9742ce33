"""What all APIs that generate text share: a request is let in, begun, counted and ended."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...engine.sampling.params import SamplingParams
from ...errors import NybbleError, RequestError
from ..wire.errors import named_argument
from .call import Call
from .runner import News, Running, Streams
from .served_model import ServedModel

T = TypeVar("T")


@dataclass(frozen=True)
class ChatAsk:
    """A conversation to be answered."""

    messages: Sequence[Mapping[str, Any]]
    params: SamplingParams
    options: dict[str, Any] = field(default_factory=dict)
    """Other arguments of `LLM.chat`."""
    is_one_call: bool = False
    """The answer ends with its first call of a tool."""
    wishes: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the template that are set if it reads them."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Arguments of the engine, and what the API calls them."""


@contextlib.asynccontextmanager
async def answering(call: Call, model: ServedModel, ask: ChatAsk) -> AsyncIterator[Running]:
    """The answers to a conversation, which run as long as the context."""
    model.check_length(*_texts(ask.messages))

    def start(on_news: Callable[[], object]) -> Streams:
        options, variables = dict(ask.options), ask.options.get("chat_template_kwargs") or {}
        if ask.wishes:
            options["chat_template_kwargs"] = {**ask.wishes, **variables}
        try:
            stream = model.backend.chat_submit(ask.messages, ask.params, on_news=on_news, **options)
        except RequestError as error:
            if not ask.wishes or named_argument(str(error)) != "chat_template_kwargs":
                raise
            stream = model.backend.chat_submit(ask.messages, ask.params, on_news=on_news, **ask.options)
        return [stream]

    async with generating(call, model, start, ask.params.n, ask.renamed) as running:
        yield running


@contextlib.asynccontextmanager
async def generating(
    call: Call,
    model: ServedModel,
    start: Callable[[Callable[[], object]], Streams],
    n_texts: int,
    renamed: Mapping[str, str] | None = None,
) -> AsyncIterator[Running]:
    """What `start(on_news)` begins in a thread, as long as the context; `APIError` if the model refuses."""
    call.admit(n_texts)
    call.usage.model = model.name

    def begin(on_news: Callable[[], object]) -> Streams:
        try:
            return start(on_news)
        except NybbleError as error:
            api_error = model.refused(error)
            api_error.param = (renamed or {}).get(api_error.param or "", api_error.param)
            raise api_error from error

    async with model.runner.running(begin) as running:
        try:
            yield running
        finally:
            usage = call.usage
            usage.n_prompt = sum(stream.n_prompt_tokens for stream in running.streams)
            usage.n_cached = sum(stream.n_cached_tokens for stream in running.streams)
            usage.n_generated = sum(len(choice.token_ids) for choice in running.choices)


async def news_of(call: Call, running: Running, is_one_call: bool = False) -> AsyncIterator[list[News]]:
    """What comes, with its times taken: of each text what came since the last time, be it of one step or of
    several. With `is_one_call` a text ends with its first call of a tool."""
    async for news in running:
        call.usage.has_come()
        news = _joined(news)
        if is_one_call:
            news = [_cut(running, *each) for each in news]
        yield news


async def all_of(call: Call, running: Running, is_one_call: bool = False) -> list[list[Any]]:
    """All pieces of each text, once they are done."""
    pieces: list[list[Any]] = [[] for _ in running.choices]
    async for news in news_of(call, running, is_one_call):
        for i, new, _ in news:
            pieces[i] += new
    return pieces


async def in_thread(call: Call, model: ServedModel, work: Callable[[], T]) -> T:
    """The result of `work()` in a thread, which ends within a step when the client leaves; `APIError` if the
    model refuses."""
    call.admit(1)
    call.usage.model = model.name

    def done() -> T:
        try:
            return work()
        except NybbleError as error:
            raise model.refused(error) from error

    return await model.runner.while_wanted(done)


def _joined(news: list[News]) -> list[News]:
    """The same, with one entry for each text."""
    if len(news) < 2:
        return news
    found: dict[int, tuple[list[Any], bool]] = {}
    for i, pieces, is_done in news:
        found[i] = [*found.get(i, ((), False))[0], *pieces], is_done
    return [(i, pieces, is_done) for i, (pieces, is_done) in found.items()]


def _cut(running: Running, i: int, deltas: Sequence[Any], is_done: bool) -> News:
    for end, delta in enumerate(deltas, 1):
        if delta.tool_calls:
            running.stop(i)
            return i, deltas[:end], True
    return i, deltas, is_done


def _texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    texts = []
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                texts.append(text)
    return texts
