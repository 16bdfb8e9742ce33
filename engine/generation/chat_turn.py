"""A conversation that is ready to run: its tokens, and how its answers are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..chat.answer_parser import AnswerReader
from ..chat.formats.base import Schemas
from ..chat.message import MessageBuilder
from ..chat.template import ChatTemplate, RenderedChat
from .chat_output import ChatFinishReason, ChatOutput
from .output import Output


@dataclass(frozen=True)
class ChatTurn:
    """What comes before an answer, and how it is read."""

    prompt: RenderedChat
    template: ChatTemplate
    schemas: Schemas | None
    """Of the tools that may be called, by name; None if none may."""
    n_dropped_messages: int = 0

    def parser(self) -> AnswerReader:
        """A parser for one answer."""
        return self.template.answer_format.parser(self.prompt.text, self.schemas)

    def output(self, output: Output) -> ChatOutput:
        """What the text of an answer says."""
        parser, builder = self.parser(), MessageBuilder()
        for delta in (*parser.push(output.text), *parser.finish()):
            builder.add(delta)
        return self.built(builder, output)

    def built(self, builder: MessageBuilder, output: Output) -> ChatOutput:
        """The output whose first answer has been put together already."""
        message = builder.message()
        has_called = bool(message.tool_calls) and output.finish_reason == "stop"
        reason: ChatFinishReason = "tool_calls" if has_called else output.finish_reason
        others = tuple(map(self.output, output.alternatives))
        alone = replace(output, alternatives=())
        return ChatOutput(message, reason, alone, self.n_dropped_messages, others)
