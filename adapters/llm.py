"""The plugin of Simon Willison's `llm`: each model on this machine is there as nybble/NAME.

    pip install nybble llm
    llm -m nybble/smollm2 "Name three colours."

`llm` finds it by its entry point. A model is loaded when it is first asked, and stays loaded for this
process, so that a conversation goes on with what has been computed of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import click
import llm
import llm.models
from llm.parts import AttachmentPart, ReasoningPart, StreamEvent, TextPart, ToolCallPart, ToolResultPart
from pydantic import Field

from ..errors import NybbleError, RequestError
from ..hub.local_models import local_models
from ..hub.models import SOURCES

if TYPE_CHECKING:
    from ..engine.chat.message import ChatDelta
    from ..engine.llm import LLM
    from ..engine.sampling.params import SamplingParams

_log = logging.getLogger(__name__)

_MAX_TOKENS, _LOOP = 2048, 128  # as `nybble chat` has them
_EMBEDDED_TOGETHER = 64


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    """The models that answer."""
    for name in _names():
        register(Model(name), AsyncModel(name))


@llm.hookimpl
def register_embedding_models(register: Callable[..., None]) -> None:
    """The models that embed, which are the same: which of them was trained for it, only its file says."""
    for name in _names():
        register(EmbeddingModel(name))


def _names() -> list[str]:
    """Those that can be fetched by a short name, and all that are here; no file is opened."""
    names = list(SOURCES)
    try:
        names += [model.name for model in local_models() if model.paths]
    except (NybbleError, OSError) as error:  # `llm` must work for its other models
        _log.warning("nybble cannot list the models on this machine: %s", error)
    return list(dict.fromkeys(names))


class _Kept:
    """The model that is loaded: one at a time, since each may take most of the memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, int | None] | None = None
        self._model: LLM | None = None

    def get(self, name: str, n_ctx: int | None = None) -> LLM:
        """The model, loaded if it is not, in the place of another."""
        from ..engine.llm import LLM

        with self._lock:
            if self._model is None or self._key != (name, n_ctx):
                self._close()
                self._model = LLM(name, n_ctx=n_ctx)
                self._key = name, n_ctx
            return self._model

    def close(self) -> None:
        """Frees it."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._model is not None:
            self._model.close()
        self._model = self._key = None


kept = _Kept()


class Options(llm.Options):
    """What `-o NAME VALUE` sets; without it, it is as the file recommends, or greedy."""

    temperature: float | None = Field(None, ge=0, le=100, description="0 takes the most probable token")
    top_p: float | None = Field(None, gt=0, le=1, description="Most probable tokens that reach this")
    top_k: int | None = Field(None, ge=0, description="So many of the most probable tokens; 0: all")
    min_p: float | None = Field(None, ge=0, le=1, description="Tokens so probable, beside the best")
    repeat_penalty: float | None = Field(None, ge=0.01, le=100, description="1 changes nothing")
    presence_penalty: float | None = Field(None, ge=-100, le=100, description="Subtracted if it was there")
    frequency_penalty: float | None = Field(None, ge=-100, le=100, description="Each time it was there")
    max_tokens: int | None = Field(None, ge=1, description=f"Tokens at most; {_MAX_TOKENS} by default")
    seed: int | None = Field(None, ge=0, description="The same seed gives the same answer")
    stop: str | None = Field(None, description="The answer ends before this text")
    enable_thinking: bool | None = Field(None, description="For templates that can turn reasoning off")
    n_ctx: int | None = Field(None, ge=1, description="Tokens that fit in the context; loads anew")


class _Shared:
    """What a model that is waited for has in common with one that is not."""

    can_stream = supports_schema = supports_tools = True
    Options = Options

    def __init__(self, name: str) -> None:
        self.model_id = f"nybble/{name}"
        self._name = name

    def _asked(self, prompt: llm.Prompt) -> Any:
        """The stream of what is asked for."""
        options = cast(Options, prompt.options)
        model = kept.get(self._name, options.n_ctx)
        messages, tools = _messages(prompt), _tools(prompt)
        params = _params(model, prompt)
        is_alone = len(messages) == 1 and messages[0]["role"] == "user" and not tools
        if is_alone and not model.info.has_chat_template:  # a base model continues a text
            return model.stream(messages[0]["content"], params)
        thinking = options.enable_thinking
        variables = None if thinking is None else {"enable_thinking": thinking}
        return model.chat_stream(
            messages,
            params,
            tools=tools or None,
            chat_template_kwargs=variables,
            continue_final_message=False,
        )


class Model(_Shared, llm.Model):  # type: ignore[misc]  # an `Options` of its own
    """A model whose answer is waited for."""

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None,
    ) -> Iterator[str | StreamEvent]:
        """The answer, piece by piece."""
        asked = self._asked(prompt)
        for piece in asked:
            yield from _events(piece, response)
        _finish(asked, response)


class AsyncModel(_Shared, llm.AsyncModel):  # type: ignore[misc]
    """The same for `await`."""

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str | StreamEvent, None]:
        """The answer, piece by piece."""
        asked = await asyncio.to_thread(self._asked, prompt)
        async for piece in asked:
            for event in _events(piece, response):
                yield event
        _finish(asked, response)


class EmbeddingModel(llm.models.EmbeddingModel):
    """A model that makes vectors of texts, pooled as its file says."""

    batch_size = _EMBEDDED_TOGETHER

    def __init__(self, name: str) -> None:
        self.model_id = f"nybble/{name}"
        self._name = name

    def embed_batch(self, items: Iterable[str | bytes], *, key: str | None = None) -> Iterator[list[float]]:
        """A vector of length 1 for each text."""
        texts = cast("list[str]", list(items))  # `llm` has refused bytes
        if not texts:
            return iter(())
        try:
            return iter(kept.get(self._name).embed(texts).tolist())
        except NybbleError as error:  # `llm` would show the command's user a traceback
            raise click.ClickException(f"{self.model_id} cannot embed this: {error}") from error


def _params(model: LLM, prompt: llm.Prompt) -> SamplingParams:
    base = replace(model.default_sampling_params(), max_tokens=_MAX_TOKENS, repetition_detection=_LOOP)
    given = prompt.options.model_dump(exclude_none=True, exclude={"n_ctx", "enable_thinking"})
    if "stop" in given:
        given["stop"] = (given["stop"],)
    if prompt.schema is not None:
        given["json_schema"] = prompt.schema
    return replace(base, **given)


def _tools(prompt: llm.Prompt) -> list[dict[str, Any]]:
    found = []
    for tool in cast("list[llm.Tool]", prompt.tools):  # `llm` has refused those that run on a server
        function = {"name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}
        found.append({"type": "function", "function": function})
    return found


def _messages(prompt: llm.Prompt) -> list[dict[str, Any]]:
    """The conversation so far in OpenAI's form. `llm` repeats the system's message with every turn."""
    found: list[dict[str, Any]] = []
    system = None
    for message in prompt.messages:
        texts, thoughts, calls = [], [], []
        for part in message.parts:
            match part:
                case TextPart():
                    texts.append(part.text)
                case ReasoningPart():
                    thoughts.append(part.text)
                case ToolCallPart():
                    called = {"name": part.name, "arguments": part.arguments}
                    calls.append({"id": part.tool_call_id, "type": "function", "function": called})
                case ToolResultPart():
                    result = {"role": "tool", "name": part.name, "content": part.output}
                    found.append({**result, "tool_call_id": part.tool_call_id})
                case AttachmentPart():
                    raise RequestError(
                        "attachments cannot be read: nybble reads text, and no images or sound"
                    )
        if message.role == "tool":
            continue
        text = "".join(texts)
        if message.role == "system":
            if text == system:
                continue
            system = text
        entry: dict[str, Any] = {"role": message.role, "content": text}
        if any(thoughts):
            entry["reasoning"] = "".join(thoughts)
        if calls:
            entry["tool_calls"] = calls
        found.append(entry)
    return found


def _events(
    piece: str | ChatDelta, response: llm.Response | llm.AsyncResponse
) -> Iterator[str | StreamEvent]:
    """A piece in `llm`'s form; calls are told to the response, which runs them."""
    if isinstance(piece, str):
        yield str(piece)
        return
    if piece.reasoning:
        yield StreamEvent(type="reasoning", chunk=piece.reasoning)
    if piece.content:
        yield StreamEvent(type="text", chunk=piece.content)
    for call in piece.tool_calls:
        name, arguments = call.function.name, call.function.arguments
        yield StreamEvent(type="tool_call_name", chunk=name, tool_call_id=call.id)
        yield StreamEvent(type="tool_call_args", chunk=arguments, tool_call_id=call.id)
        response.add_tool_call(llm.ToolCall(name=name, arguments=json.loads(arguments), tool_call_id=call.id))


def _finish(asked: Any, response: llm.Response | llm.AsyncResponse) -> None:
    """Tells how it has ended, for the log and for `llm --usage`."""
    output = asked.output()
    cached = {"cached_tokens": asked.n_cached_tokens} if asked.n_cached_tokens else None
    response.set_usage(input=asked.n_prompt_tokens, output=len(asked.token_ids), details=cached)
    response.response_json = {"finish_reason": output.finish_reason, "seed": output.seed}
