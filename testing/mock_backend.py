"""A stand-in for a model: it says what a test has written, at once."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ..engine.answers.chat_output import ChatOutput
from ..engine.answers.chatter import ChatOptions
from ..engine.chat.conversation import Conversation, Message
from ..engine.chat.message import ChatDelta, ChatMessage, MessageBuilder, ToolCallDelta
from ..engine.chat.template import RenderedChat
from ..engine.chat.templates import ChatTemplates
from ..engine.embedding.embedder import Pooling
from ..engine.generation.output import FinishReason, Output
from ..engine.generation.prompt import Prompt, prompt_ids
from ..engine.hooks.taps import Edits
from ..engine.model_info import ModelInfo
from ..engine.sampling.params import SamplingParams
from ..engine.scheduler.stats import Stats
from ..errors import NybbleError, RequestError
from ..tokenizer import Tokenizer
from .mock_stream import MockStream, mock_timings
from .vocabulary import vocabulary

if TYPE_CHECKING:
    from ..engine.backend import Backend
    from ..engine.llm import LLM

_N_EMBD = 64


@dataclass(frozen=True)
class MockRequest:
    """What a mock was asked."""

    asked: Any
    """The prompt or the messages."""
    params: SamplingParams
    options: dict[str, Any] = field(default_factory=dict)


class MockBackend:
    """A `Backend` in memory that gives scripted answers, one to a request, over and over.

        backend = MockBackend(["Hello!", ChatMessage(content="Four.", reasoning="2 + 2")])
        backend.chat([{"role": "user", "content": "Hi"}]).message.content  # "Hello!"
        backend.requests[0].asked  # what it was asked

    An answer is a text or a `ChatMessage`, which may have reasoning and calls of tools. Without answers it
    says what it was asked last. The tokenizer and the chat template are those of `tiny_model`, so tokens are
    counted as by a model; prompts and messages are checked as `LLM` does. `max_tokens` and stop strings cut
    answers; what else `SamplingParams` has is recorded and changes nothing.
    """

    def __init__(self, answers: Sequence[str | ChatMessage] = (), *, n_ctx: int = 2048) -> None:
        self.requests: list[MockRequest] = []
        """What it was asked, in order."""
        self.n_ctx = n_ctx
        metadata = vocabulary()
        self.tokenizer = Tokenizer.from_metadata(metadata, "mock")
        self._template = ChatTemplates(metadata, "mock", self.tokenizer).find(None, False)
        self._answers = list(answers)
        self._is_open = True

    @property
    def info(self) -> ModelInfo:
        """Facts of a model that has no weights."""
        return ModelInfo(
            name="mock",
            path="",
            architecture="mock",
            format="F32",
            n_params=0,
            n_bytes=0,
            n_layers=0,
            n_embd=_N_EMBD,
            n_vocab=self.tokenizer.n_vocab,
            n_ctx=self.n_ctx,
            n_ctx_train=self.n_ctx,
            executor="mock",
            cache_type="f32",
            has_tokenizer=True,
            has_chat_template=True,
            can_generate=True,
        )

    def generate(self, prompt: Prompt, params: SamplingParams | None = None) -> Output:
        """The next answer, as a text."""
        return self.stream(prompt, params).result()

    def stream(self, prompt: Prompt, params: SamplingParams | None = None) -> MockStream[str, Output]:
        """The next answer, as a text, token by token."""
        ids = self._prompt_ids(prompt)
        asked = prompt if isinstance(prompt, str) else self.tokenizer.decode(ids.tolist())
        params = self._record(prompt, params)
        answer = self._next_answer(asked)
        token_ids, pieces, reason = self._cut(answer.content or "", params)

        def built(n: int, reason: FinishReason) -> Output:
            return Output("".join(pieces[:n]), token_ids[:n], reason, mock_timings(len(ids), n))

        return MockStream(pieces, token_ids, ids.tolist(), reason, built)

    def chat(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatOutput:
        """The next answer."""
        return self.chat_stream(messages, params, **options).result()

    def chat_stream(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        **options: Unpack[ChatOptions],
    ) -> MockStream[ChatDelta, ChatOutput]:
        """The next answer: reasoning, then words, token by token, then calls, whole."""
        prompt = self._prompt_ids(self.render(messages, tools=options.get("tools")).token_ids)
        params = self._record(list(messages), params, **options)
        last = Conversation.of(messages).messages[-1]
        answer = self._next_answer(last.get("content", ""))
        reasoning_ids, thoughts, _ = self._cut(
            answer.reasoning or "", SamplingParams(max_tokens=params.max_tokens)
        )
        word_ids, words, reason = self._cut(answer.content or "", params)
        deltas = [ChatDelta(reasoning=piece) for piece in thoughts] + [ChatDelta(piece) for piece in words]
        token_ids = reasoning_ids + word_ids
        if reason == "stop":
            for i, call in enumerate(answer.tool_calls):
                deltas.append(ChatDelta(tool_calls=(ToolCallDelta(i, call.id, call.function, call.type),)))
                token_ids.append(self.tokenizer.encode("}")[0])

        def built(n: int, reason: FinishReason) -> ChatOutput:
            builder = MessageBuilder()
            for delta in deltas[:n]:
                builder.add(delta)
            message = builder.message()
            text = "".join(delta.reasoning + delta.content for delta in deltas[:n])
            output = Output(text, token_ids[:n], reason, mock_timings(len(prompt), n))
            has_called = bool(message.tool_calls) and reason == "stop"
            return ChatOutput(message, "tool_calls" if has_called else reason, output)

        return MockStream(deltas, token_ids, prompt.tolist(), reason, built)

    def submit(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        on_news: Callable[[], object] | None = None,
    ) -> MockStream[str, Output]:
        """The next answer, as a text, all of it at once."""
        stream = self.stream(prompt, params)
        if on_news is not None:
            on_news()
        return stream

    def chat_submit(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        on_news: Callable[[], object] | None = None,
        **options: Unpack[ChatOptions],
    ) -> MockStream[ChatDelta, ChatOutput]:
        """The next answer, all of it at once."""
        stream = self.chat_stream(messages, params, **options)
        if on_news is not None:
            on_news()
        return stream

    def render(
        self, messages: Sequence[Message], *, tools: Any = None, add_generation_prompt: bool = True
    ) -> RenderedChat:
        """The conversation in ChatML."""
        self._check_open()
        conversation = Conversation.of(messages, tools, add_generation_prompt=add_generation_prompt)
        return self._template.render(conversation, self.tokenizer)

    def embed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> NDArray[np.float32]:
        """(n_texts, 64) float32: vectors of length 1, the same for the same text, and no others alike."""
        is_one = isinstance(texts, str) or (len(texts) > 0 and isinstance(texts[0], int))
        prompts: Any = [texts] if is_one else texts
        keys = [zlib.crc32(self._prompt_ids(prompt).tobytes()) for prompt in prompts]
        rows = [np.random.default_rng(key).standard_normal(_N_EMBD) for key in keys]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def capture(
        self,
        prompt: Prompt,
        names: str | Sequence[str],
        *,
        edit: Edits | None = None,
        max_bytes: int | None = None,
    ) -> bytes:
        """RequestError: a mock has no activations."""
        self._prompt_ids(prompt)
        raise RequestError(f"no activation is called {names!r:.100}: a mock computes none")

    def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """(n_documents,) float32: the cosine of each document's embedding and the query's."""
        query_row, *rows = self.embed([query, *documents])
        return np.array([row @ query_row for row in rows], np.float32)

    def stats(self) -> Stats:
        """All zero: nothing has run."""
        return Stats()

    def close(self) -> None:
        """Whatever is asked afterwards raises NybbleError."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise NybbleError("this model has been closed")

    def _prompt_ids(self, prompt: Prompt) -> NDArray[np.int32]:
        self._check_open()
        return prompt_ids(prompt, self.tokenizer.encode, self.tokenizer.n_vocab, self.n_ctx)

    def _record(self, asked: Any, params: SamplingParams | None, **options: Any) -> SamplingParams:
        params = SamplingParams() if params is None else params
        self.requests.append(MockRequest(asked, params, options))
        return params

    def _next_answer(self, asked: str) -> ChatMessage:
        if not self._answers:
            return ChatMessage(content=asked)
        answer = self._answers[(len(self.requests) - 1) % len(self._answers)]
        return ChatMessage(content=answer) if isinstance(answer, str) else replace(answer)

    def _cut(self, text: str, params: SamplingParams) -> tuple[list[int], list[str], FinishReason]:
        """The tokens of a text, the text of each, and why there are no more."""
        for stop in params.stop:
            text = text.partition(stop)[0]
        ids = self.tokenizer.encode(text)
        kept = ids[: params.max_tokens]
        decoder = self.tokenizer.stream_decoder()
        pieces = [decoder.push(token_id) for token_id in kept]
        if pieces:
            pieces[-1] += decoder.flush()
        return kept, pieces, "stop" if len(kept) == len(ids) else "length"


if TYPE_CHECKING:

    def _are_backends(llm: LLM, mock: MockBackend) -> tuple[Backend, Backend]:
        """A type checker sees that both are."""
        return llm, mock
