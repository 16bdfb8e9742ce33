"""Grammars of answers that say what they like, and whose calls of tools are well formed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from .answer_format import AnswerFormat
from .formats.base import Beginning, Schemas
from .formats.lark_writer import LarkWriter
from .formats.scanners import UntilTheEnd

_BLANK = r"\s\x1c-\x1f"  # what is white space in Python
TERMINALS = rf"""
SPACE: /[ \n]{{0,4}}/
TEXT: /(.|\n)+/
BLANKS: /[{_BLANK}]+/
WORDS: /[{_BLANK}]*[^{_BLANK}](.|\n)*/"""

_TO = '"to=functions."'


class FreeGrammar:
    """Writes a grammar of answers, in the parts that `AnswerParser` knows.

    At the start, and after reasoning and calls, comes reasoning, a call that counts there only, or words.
    Words go on to the next opener of a call, and may end everywhere, as reasoning may. `other_ids`: tokens
    that may stand everywhere in both, and match no text.
    """

    def __init__(
        self, lark: LarkWriter, answer_format: AnswerFormat, tools: Schemas, other_ids: Iterable[int]
    ) -> None:
        self._lark = lark
        self._format = answer_format
        self._beginnings = answer_format.tools.beginnings(lark, tools)
        self._openers = [begin.opener for begin in self._beginnings if begin.opener]
        self._marks = {mark: lark.parts(mark) for mark in (*(answer_format.reasoning or ()), *self._openers)}
        self._controls = {parts[0] for parts in self._marks.values() if parts and parts[0]}
        ids = [id_ for id_ in sorted(other_ids) if f"<[{id_}]>" not in self._controls]
        self._others = [lark.rule(f"<[{_ranges(ids)}]>")] if ids else []

    def start(self, in_reasoning: bool) -> str:
        """Items for the answer; "" if the model has no calls, or control tokens within a mark."""
        if not self._beginnings or None in self._marks.values():
            return ""
        reasoning = self._format.reasoning
        first = [f"BLANKS? {each}" for each in self._tokens(*self._openers, *(reasoning or ())[:1])]
        words = self._lark.rule(f"{self._lark.any_of(['WORDS', *first])} {self._text(*self._openers)}")
        parts: list[str] = []
        last = [words, "BLANKS"]
        for begin in self._beginnings:
            call = f"{self._lark.any_of(self._entries(begin, words))} {begin.rest}"
            (last if self._is_last(begin) else parts).append(call)
        if reasoning is None:
            return f"{self._lark.any_of(parts)}* {self._lark.any_of(last)}?"
        opener, end = reasoning
        before = self._lark.any_of(
            [self._at_start(self._lark.literal(opener)), *self._entry(opener, "BLANKS?")]
        )
        thought = self._text(end)
        after = self._lark.any_of([self._lark.letters_until(end), *self._entry(end, "")])
        parts.append(f"{before} {thought} {after}")
        last.append(f"{before} {thought}")
        rest = f"{self._lark.any_of(parts)}* {self._lark.any_of(last)}?"
        return f"{thought} ({after} {rest})?" if in_reasoning else rest

    def _entries(self, begin: Beginning, words: str) -> list[str]:
        """Ways to a call."""
        if begin.at_start:
            return [self._at_start(begin.at_start)]
        by_letters = f"{words}? {self._lark.letters_until(begin.opener)}"
        return [by_letters, *self._entry(begin.opener, f"({words} | BLANKS)?")]

    def _entry(self, mark: str, before: str) -> list[str]:
        """The way to what follows a mark by the control token with which it begins, if it does."""
        control, rest = self._marks[mark] or ("", "")
        if not control:
            return []
        letters = self._lark.rule(self._lark.literal(rest), "[lazy]") if rest else ""
        return [f"{before} {control} {letters}"]

    def _at_start(self, items: str) -> str:
        """A rule for white space and items of a terminal, which end at once."""
        return self._lark.rule(f"/[{_BLANK}]*/ {items}", "[lazy]")

    def _text(self, *ends: str) -> str:
        """Items for any text before the first of these marks."""
        return f"{self._lark.rule(self._lark.any_of(['TEXT', *self._tokens(*ends)]))}*"

    def _tokens(self, *ends: str) -> list[str]:
        """Items for the tokens that are no text and no such mark."""
        parts = (self._marks[end] or ("", "") for end in ends)
        barred = {control for control, rest in parts if not rest}
        return [*self._others, *sorted(self._controls - barred)]

    def _is_last(self, begin: Beginning) -> bool:
        """Does the call end with the answer?"""
        return bool(begin.opener) and isinstance(self._format.tools.scanner(begin.opener), UntilTheEnd)


def harmony_start(lark: LarkWriter, tools: Schemas, other_ids: Iterable[int]) -> str:
    """Items for an answer of gpt-oss, whose messages have headers that say for whom they are: with
    `to=functions.` begins a call. "" if the marks of messages are no control tokens."""
    marks = [lark.parts(mark) for mark in ("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>")]
    controls = [parts[0] for parts in marks if parts and parts[0] and not parts[1]]
    if len(controls) < len(marks):
        return ""
    start, channel, message, constrain = controls
    ids = [id_ for id_ in sorted(other_ids) if f"<[{id_}]>" not in controls]
    others = [f"<[{_ranges(ids)}]>"] if ids else []
    middle = lark.rule(
        f'SPACE ({channel} ("commentary" | "analysis") SPACE)? ({constrain}? "json")? SPACE {message}'
    )
    call = lark.rule(
        lark.any_of(f"{lark.text(name)} {middle} {lark.json(own)}" for name, own in tools.items())
    )
    first = lark.rule(f"/[{_BLANK}]*/ {_TO}", "[lazy]")
    later = lark.rule(f"/(.|\\n)*/ {_TO}", "[lazy]")
    header = lark.rule(f"({start} | {channel}) ({later} {call})?")
    return f"({first} {call})? {lark.any_of([header, 'TEXT', message, constrain, *others])}*"


def _ranges(ids: list[int]) -> str:
    """Sorted ids as llguidance has them: "1-3,7"."""
    runs = [[id_ for _, id_ in run] for _, run in groupby(enumerate(ids), lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
