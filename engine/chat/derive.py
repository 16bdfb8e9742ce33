"""How a template marks the parts of an answer: found by rendering conversations that are made up, in
pairs."""

from __future__ import annotations

import re

from .answer_format import AnswerFormat
from .traits import NEEDLE, Probe, TemplateTraits

_USER = {"role": "user", "content": "Hello"}
_WORDS = "WordsOfTheAnswer"
_TAG = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


def derived_format(probe: Probe, source: str, traits: TemplateTraits) -> AnswerFormat:
    """The format of the answers of a model whose template, `source`, is what `probe` renders."""
    ended = probe(
        {"messages": [_USER, {"role": "assistant", "content": _WORDS}], "add_generation_prompt": False}
    )
    after = (ended or "").rpartition(_WORDS)[2].lstrip() if _WORDS in (ended or "") else ""
    end = _TAG.match(after)
    return AnswerFormat(_reasoning(probe, source, traits), None, end[0] if end else "")


def _reasoning(probe: Probe, source: str, traits: TemplateTraits) -> tuple[str, str] | None:
    """The texts around the reasoning."""
    if traits.reasoning_key is not None:
        answer = {"role": "assistant", "content": _WORDS, traits.reasoning_key: NEEDLE}
        text = probe({"messages": [_USER, answer], "add_generation_prompt": False}) or ""
        before, _, after = text.partition(NEEDLE)
        begin, end = _TAG.findall(before.rstrip()), _TAG.match(after.lstrip())
        if begin and end and before.rstrip().endswith(begin[-1]):
            return begin[-1], end[0]
    for begin_, end_ in (("<think>", "</think>"), ("[THINK]", "[/THINK]")):
        if end_ in source:
            return begin_, end_
    return None
