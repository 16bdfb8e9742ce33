"""What a server or an application needs of a model: `LLM` gives it, and so does a mock in tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, Unpack, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .answers.chat_output import ChatOutput
from .answers.chatter import ChatOptions
from .chat.conversation import Message
from .chat.message import ChatDelta
from .chat.template import RenderedChat
from .embedding.embedder import Pooling
from .generation.logprobs import TokenLogprob
from .generation.output import Output, Timings
from .generation.prompt import Prompt
from .hooks.taps import Edits
from .model_info import ModelInfo
from .sampling.params import SamplingParams
from .scheduler.stats import Stats

P_co = TypeVar("P_co", covariant=True)
O_co = TypeVar("O_co", covariant=True)


class Stream(Protocol[P_co, O_co]):
    """A text or an answer as it comes, with `for` or `async for`; leaving the loop ends the work."""

    @property
    def prompt_ids(self) -> list[int]:
        """The tokens of the prompt."""

    @property
    def n_prompt_tokens(self) -> int:
        """How many tokens the prompt has."""

    @property
    def n_cached_tokens(self) -> int:
        """How many of them had been computed before."""

    @property
    def token_ids(self) -> list[int]:
        """The tokens so far."""

    @property
    def finish_reason(self) -> str | None:
        """Why it has ended; None: it has not."""

    @property
    def logprobs(self) -> list[TokenLogprob] | None:
        """An entry for each of the tokens so far; None unless they were asked for."""

    @property
    def is_done(self) -> bool:
        """Has it ended, for whatever reason?"""

    @property
    def choices(self) -> Sequence[Stream[P_co, O_co]]:
        """A stream for each text, of `SamplingParams.n`."""

    @property
    def timings(self) -> Timings:
        """The times so far."""

    def __iter__(self) -> Iterator[P_co]: ...
    def __next__(self) -> P_co: ...
    def __aiter__(self) -> AsyncIterator[P_co]: ...
    def __anext__(self) -> Awaitable[P_co]: ...

    def take(self) -> Sequence[P_co]:
        """What has come and nobody has read; it waits for nothing."""

    def result(self, timeout: float | None = None) -> O_co:
        """Waits for the end. Raises what has ended it early, and TimeoutError after `timeout` seconds."""

    def output(self) -> O_co:
        """What there is so far."""

    def cancel(self) -> None:
        """Ends the work, from any thread."""


@runtime_checkable
class Backend(Protocol):
    """A model that texts, conversations and vectors are asked of: `LLM` is one.

        def loudly(backend: nybble.Backend, question: str) -> str:
            out = backend.chat([{"role": "user", "content": question}])
            return (out.message.content or "").upper()

    What asks for no more than this can be tested with `nybble.testing.MockBackend`.
    """

    @property
    def tokenizer(self) -> Any:
        """A `Tokenizer`; None for a model that knows ids alone."""

    @property
    def n_ctx(self) -> int:
        """How many tokens of prompt and generated text fit."""

    @property
    def info(self) -> ModelInfo:
        """What the model is, and how it runs."""

    def generate(self, prompt: Prompt, params: SamplingParams | None = None) -> Output:
        """Continues a text or token ids; see `LLM.generate`."""

    def stream(self, prompt: Prompt, params: SamplingParams | None = None) -> Stream[str, Output]:
        """Continues a text or token ids, piece by piece; see `LLM.stream`."""

    def submit(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        on_news: Callable[[], object] | None = None,
    ) -> Stream[str, Output]:
        """Continues a text or token ids in the background; see `LLM.submit`."""

    def chat(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatOutput:
        """Answers a conversation; see `LLM.chat`."""

    def chat_stream(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        **options: Unpack[ChatOptions],
    ) -> Stream[ChatDelta, ChatOutput]:
        """Answers a conversation, piece by piece; see `LLM.chat_stream`."""

    def chat_submit(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        on_news: Callable[[], object] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Stream[ChatDelta, ChatOutput]:
        """Answers a conversation in the background; see `LLM.chat_submit`."""

    def render(
        self, messages: Sequence[Message], *, tools: Any = None, add_generation_prompt: bool = True
    ) -> RenderedChat:
        """The text and the ids of a conversation; see `LLM.render`."""

    def embed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> NDArray[np.float32]:
        """An embedding of each text, (n_texts, n_embd) float32; see `LLM.embed`."""

    def capture(
        self,
        prompt: Prompt,
        names: str | Sequence[str],
        *,
        edit: Edits | None = None,
        max_bytes: int | None = None,
    ) -> bytes:
        """The activations of a prompt, as a safetensors file; see `LLM.capture`."""

    def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """How well each document answers the query, (n_documents,) float32; see `LLM.rerank`."""

    def stats(self) -> Stats:
        """What has run, in numbers; see `LLM.stats`. It may be asked at any time, and waits for nothing."""

    def close(self) -> None:
        """Frees what it holds."""
