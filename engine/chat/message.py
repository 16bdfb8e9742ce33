"""What an assistant says: messages and calls of tools, whole or as they come; named as in the openai
package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...gguf_io.display import Shown


@dataclass(frozen=True, repr=False)
class FunctionCall(Shown):
    """Which tool is called, with what."""

    name: str
    arguments: str
    """An object as JSON text; `json.loads` makes a dict of it."""


@dataclass(frozen=True, repr=False)
class ToolCall(Shown):
    """A call of a tool. Its result is {"role": "tool", "tool_call_id": id, "content": …}."""

    id: str
    function: FunctionCall
    type: str = "function"


@dataclass(frozen=True, repr=False)
class ChatMessage(Shown):
    """A message of an assistant. It can be put into the list of messages as it is."""

    role: str = "assistant"
    content: str | None = None
    """The words; None if there are calls only."""
    reasoning: str | None = None
    """What a reasoning model has thought before; None if it has not."""
    tool_calls: Sequence[ToolCall] = ()

    def as_dict(self) -> dict[str, Any]:
        """The message as templates read it, and as JSON has it."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning is not None:
            message["reasoning"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": call.type,
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in self.tool_calls
            ]
        return message


@dataclass(frozen=True, repr=False)
class ToolCallDelta(Shown):
    """A piece of the call with number `index`: a call comes whole, when it is complete and valid."""

    index: int
    id: str
    function: FunctionCall
    type: str = "function"


@dataclass(frozen=True, repr=False)
class ChatDelta(Shown):
    """A piece of an answer. All pieces in order make the message."""

    content: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()


@dataclass
class MessageBuilder:
    """Puts pieces together."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)

    def add(self, delta: ChatDelta) -> None:
        """Takes the next piece."""
        self.content.append(delta.content)
        self.reasoning.append(delta.reasoning)
        self.tool_calls += [ToolCall(call.id, call.function, call.type) for call in delta.tool_calls]

    def message(self) -> ChatMessage:
        """The message of the pieces so far."""
        content, reasoning = "".join(self.content), "".join(self.reasoning)
        only_calls = self.tool_calls and not content
        return ChatMessage(
            content=None if only_calls else content,
            reasoning=reasoning or None,
            tool_calls=tuple(self.tool_calls),
        )
