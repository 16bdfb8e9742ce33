"""A conversation that is ready to run: its tokens, and how its answers are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...errors import NybbleError, RequestError
from ...tokenizer import Tokenizer
from ..chat.answer_parser import AnswerReader, call_ids
from ..chat.call_grammar import after_reasoning, calls_grammar, free_grammar
from ..chat.formats.base import Schemas
from ..chat.message import MessageBuilder
from ..chat.template import ChatTemplate, RenderedChat
from ..generation.output import Output
from ..grammar.compiler import GrammarCompiler
from ..grammar.grammar import Grammar
from ..sampling.params import SamplingParams
from .chat_output import ChatFinishReason, ChatOutput


@dataclass(frozen=True)
class ChatTurn:
    """What comes before an answer, and how it is read."""

    prompt: RenderedChat
    template: ChatTemplate
    schemas: Schemas | None
    """Of the tools that may be called, by name; None if none may."""
    forced: tuple[str, ...] = ()
    """The tools of which the answer must call one; () if it need not."""
    is_named: bool = False
    """It must call one of them once, as the request names it."""
    n_dropped_messages: int = 0

    def parser(self) -> AnswerReader:
        """A parser for one answer."""
        return self.template.answer_format.parser(self.prompt.text, self.schemas, call_ids(self.prompt.text))

    def params(
        self, given: SamplingParams, tokenizer: Tokenizer, grammars: GrammarCompiler
    ) -> SamplingParams:
        """The parameters of an answer: `given`, with the stop strings of the template, and the constraint
        that makes it call a tool, or call tools well if it does, or reason before it follows the constraint
        that it has."""
        if given.echo:
            raise RequestError("`echo` is for `generate`: an answer has no text of the prompt in it")
        stop = (*given.stop, *self.template.stop)
        answer_format = self.template.answer_format
        in_reasoning = answer_format.begins_in_reasoning(self.prompt.text)
        if self.forced:
            if given.constraint is not None:
                raise RequestError(
                    f"tool_choice asks for a call, and `{given.constraint.name}` for another text: give one"
                )
            tools = {name: (self.schemas or {})[name] for name in self.forced}
            grammar = calls_grammar(answer_format, tokenizer, tools, in_reasoning, self.is_named)
        elif given.constraint is not None:
            grammar = after_reasoning(
                answer_format, tokenizer, given.constraint, self.schemas or {}, in_reasoning
            )
        elif (free := self._free_grammar(tokenizer, grammars, in_reasoning)) is not None:
            grammar = free
        else:
            return replace(given, stop=stop) if self.template.stop else given
        return replace(
            given,
            json_schema=None,
            json_object=False,
            regex=None,
            choice=None,
            grammar=grammar,
            stop=stop,
        )

    def _free_grammar(
        self, tokenizer: Tokenizer, grammars: GrammarCompiler, in_reasoning: bool
    ) -> Grammar | None:
        """What makes calls well formed, where that can be enforced."""
        if self.schemas is None:
            return None
        try:
            grammar = free_grammar(self.template.answer_format, tokenizer, self.schemas, in_reasoning)
            if grammar is not None:
                grammars.check(grammar)
        except NybbleError:  # of a schema, or the extra is missing
            return None
        return grammar

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
