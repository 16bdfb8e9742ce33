"""The handle of an answer that is generated."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import cached_property

from ...gguf_io.display import Shown
from ..chat.message import ChatDelta, ChatMessage, MessageBuilder
from ..generation.logprobs import TokenLogprob
from ..generation.output import Output, Timings
from ..generation.request import Pieces, Request
from .chat_output import ChatFinishReason, ChatOutput
from .chat_turn import ChatTurn


class ChatRequest(Shown, Pieces[ChatDelta]):
    """An answer that is generated: iterating over it, with `for` or `async for`, gives its pieces.

        for delta in llm.chat_stream([{"role": "user", "content": "Hello!"}]):
            print(delta.content, end="")

    It runs while it is read, as what `LLM.stream` gives. Leaving the loop, or `cancel`, ends the work.
    """

    def __init__(self, request: Request, turn: ChatTurn) -> None:
        self.request = request
        """The tokens and the text below."""
        self._turn = turn
        self._parser = turn.parser()
        self._builder = MessageBuilder()
        self._deltas: deque[ChatDelta] = deque()
        self._text: list[str] = []
        self._is_finished = self._is_cancelled = False

    @property
    def message(self) -> ChatMessage:
        """The message so far."""
        return self._builder.message()

    @property
    def n_dropped_messages(self) -> int:
        """How many messages `overflow="drop_middle"` has left out."""
        return self._turn.n_dropped_messages

    @property
    def prompt_ids(self) -> list[int]:
        """The tokens of the conversation."""
        return self.request.prompt_ids

    @property
    def n_prompt_tokens(self) -> int:
        """How many tokens the conversation has."""
        return self.request.n_prompt_tokens

    @property
    def n_cached_tokens(self) -> int:
        """How many of them had been computed before."""
        return self.request.n_cached_tokens

    @property
    def token_ids(self) -> list[int]:
        """The tokens so far, without the end-of-generation token."""
        return self.request.token_ids

    @property
    def finish_reason(self) -> ChatFinishReason | None:
        """Why it has ended; None: it has not."""
        reason = self.request.finish_reason
        return "tool_calls" if reason == "stop" and self._builder.tool_calls else reason

    @property
    def logprobs(self) -> list[TokenLogprob] | None:
        """An entry for each of the tokens so far; None unless `SamplingParams.logprobs` asks for them."""
        return self.request.logprobs

    @property
    def is_done(self) -> bool:
        """Has it ended, for whatever reason? Then `take` gives the last pieces."""
        return self.request.is_done

    @cached_property
    def choices(self) -> tuple[ChatRequest, ...]:
        """A request for each of the answers, which can be read by themselves."""
        return tuple(ChatRequest(request, self._turn) for request in self.request.choices)

    @property
    def timings(self) -> Timings:
        """The times so far."""
        return self.request.timings

    def __next__(self) -> ChatDelta:
        while not self._deltas:
            piece = None if self._is_finished else next(self.request, None)
            if piece is None:
                if self._is_finished:
                    raise StopIteration
                self._finish()
            else:
                self._take(piece)
        return self._deltas.popleft()

    def take(self) -> list[ChatDelta]:
        """The pieces that have come and that nobody has read; it waits for none."""
        is_done = self.is_done  # before the pieces: more may come in between
        for piece in self.request.take():
            self._take(piece)
        if is_done:
            self._finish()
        deltas = list(self._deltas)
        self._deltas.clear()
        return deltas

    def result(self, timeout: float | None = None) -> ChatOutput:
        """Waits for the end; the output has the whole message, whatever was read of it. Raises what has ended
        it early, and TimeoutError after `timeout` seconds."""
        return self._whole(self.request.result(timeout))

    def output(self) -> ChatOutput:
        """What there is so far; of a request that has failed with the error."""
        return self._whole(self.request.output())

    def cancel(self) -> None:
        """Ends the work, from any thread, within a step."""
        self._is_cancelled = True
        self.request.cancel()

    def _whole(self, output: Output) -> ChatOutput:
        """The output, which has the rest of the text that nobody has read."""
        if output.text:
            self._take(output.text)
        if self.request.finish_reason is not None or self._is_cancelled:
            self._finish()
        return self._turn.built(self._builder, replace(output, text="".join(self._text)))

    def _take(self, piece: str) -> None:
        self._text.append(piece)
        self._add(self._parser.push(piece))

    def _finish(self) -> None:
        if not self._is_finished:
            self._is_finished = True
            self._add(self._parser.finish())

    def _add(self, deltas: list[ChatDelta]) -> None:
        self._deltas += deltas
        for delta in deltas:
            self._builder.add(delta)

    def _facts(self) -> dict[str, str]:
        return self.request._facts()
