"""How a model marks the parts of its answers: reasoning, words, calls of tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .answer_parser import AnswerParser, AnswerReader
from .formats.base import NO_CALLS, Schemas, ToolFormat
from .harmony import HarmonyParser


@dataclass(frozen=True)
class AnswerFormat:
    """How the parts of an answer are told apart."""

    reasoning: tuple[str, str] | None = None
    """The texts before and after the reasoning; None if there is none."""
    tools: ToolFormat = NO_CALLS
    """How calls are written."""
    end: str = ""
    """The text with which an answer ends, a control token; "" if it is not known."""

    def parser(self, prompt: str, schemas: Schemas | None, new_id: Callable[[], str]) -> AnswerReader:
        """A parser for one answer to a prompt; `schemas` as for `AnswerParser`."""
        in_reasoning = self.begins_in_reasoning(prompt)
        return AnswerParser(self.reasoning, self.tools, schemas, in_reasoning=in_reasoning, new_id=new_id)

    def begins_in_reasoning(self, prompt: str) -> bool:
        """Has the prompt opened the reasoning of the answer already, perhaps with its first words?"""
        if self.reasoning is None:
            return False
        begin, end = self.reasoning
        before, _, begun = prompt.rpartition(begin)
        is_last_turn = not begun.strip() or (self.end != "" and self.end not in begun)
        return bool(before) and is_last_turn and end not in begun

    def shown_ids(self, control_names: Mapping[str, int]) -> frozenset[int]:
        """The ids of control tokens that the parser must see."""
        markers = [*(self.reasoning or ()), *self.tools.markers]
        text = "\n".join(markers)
        return frozenset(id_ for name, id_ in control_names.items() if name and name in text)


@dataclass(frozen=True)
class HarmonyFormat(AnswerFormat):
    """The answers of gpt-oss, which are several messages with headers."""

    def parser(self, prompt: str, schemas: Schemas | None, new_id: Callable[[], str]) -> AnswerReader:
        return HarmonyParser(prompt, schemas, new_id)
