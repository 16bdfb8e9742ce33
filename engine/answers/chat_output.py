"""The result of a chat: the assistant's message, why it ended, and what `generate` gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...gguf_io.display import Shown, brief
from ..chat.message import ChatMessage
from ..generation.logprobs import TokenLogprob
from ..generation.output import Output, Timings
from ..receipts.receipt import Receipt

ChatFinishReason = Literal["stop", "length", "tool_calls", "repetition", "cancelled", "error"]


@dataclass(frozen=True, repr=False)
class ChatOutput(Shown):
    """A finished answer."""

    message: ChatMessage
    finish_reason: ChatFinishReason
    """ "tool_calls": the answer has calls; else as in `Output`."""
    output: Output
    """The same as a text: with reasoning, calls and their marks."""
    n_dropped_messages: int = 0
    """How many messages `overflow="drop_middle"` has left out."""
    alternatives: tuple[ChatOutput, ...] = ()

    @property
    def choices(self) -> tuple[ChatOutput, ...]:
        """All answers, `SamplingParams.n` of them; this is the first."""
        return (self, *self.alternatives)

    @property
    def token_ids(self) -> list[int]:
        """All generated tokens except the end-of-generation token."""
        return self.output.token_ids

    @property
    def timings(self) -> Timings:
        """The times in seconds."""
        return self.output.timings

    @property
    def n_prompt_tokens(self) -> int:
        """How many tokens the conversation has."""
        return self.output.timings.n_prompt_tokens

    @property
    def n_cached_tokens(self) -> int:
        """How many of them had been computed before, for a conversation with the same beginning."""
        return self.output.n_cached_tokens

    @property
    def logprobs(self) -> list[TokenLogprob] | None:
        """An entry for each of `token_ids`, if `SamplingParams.logprobs` asks for them."""
        return self.output.logprobs

    @property
    def seed(self) -> int | None:
        """What the draws depended on."""
        return self.output.seed

    @property
    def receipt(self) -> Receipt | None:
        """See `Output.receipt`."""
        return self.output.receipt

    @property
    def error(self) -> BaseException | None:
        """Why this one of several conversations has failed."""
        return self.output.error

    def _facts(self) -> dict[str, str]:
        message = self.message
        parts = {
            "reasoning": message.reasoning,
            "content": message.content,
            "tool_calls": [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls],
        }
        dropped = {"n_dropped_messages": str(self.n_dropped_messages)} if self.n_dropped_messages else {}
        failed = {"error": str(self.error)} if self.error else {}
        shown = {name: brief(value) for name, value in parts.items() if value or name == "content"}
        return shown | {"finish_reason": repr(self.finish_reason)} | dropped | failed
