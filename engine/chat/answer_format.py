"""How a model marks the parts of its answers: reasoning, words, calls of tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .formats.base import ToolFormat


@dataclass(frozen=True)
class AnswerFormat:
    """How the parts of an answer are told apart."""

    reasoning: tuple[str, str] | None = None
    """The texts before and after the reasoning; None if there is none."""
    tools: ToolFormat | None = None
    """How calls are written; None if the template knows no tools."""
    end: str = ""
    """The text with which an answer ends, a control token; "" if it is not known."""

    def begins_in_reasoning(self, prompt: str) -> bool:
        """Has the prompt opened the reasoning already?"""
        if self.reasoning is None:
            return False
        begin, end = self.reasoning
        return prompt.rstrip().endswith(begin) and not begin.endswith(end)

    def shown_ids(self, control_ids: Mapping[str, int]) -> frozenset[int]:
        """The ids of control tokens that the parser must see."""
        markers = [*(self.reasoning or ()), *(self.tools.markers if self.tools else ())]
        text = "\n".join(markers)
        return frozenset(id_ for name, id_ in control_ids.items() if name and name in text)
