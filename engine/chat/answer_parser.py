"""Splits an answer that comes in pieces into reasoning, words and calls of tools."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from base64 import b32encode
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import lru_cache
from hashlib import sha256
from itertools import count

from .formats.base import ParsedCall, Schemas, ToolFormat
from .formats.scanners import EndsAtOnce, Scanner
from .message import ChatDelta, FunctionCall, ToolCallDelta

_ID_LENGTH = 9
_NO_SPACE = re.compile(r"\S")


def call_ids(prompt: str) -> Callable[[], str]:
    """Makes ids for the calls in an answer to `prompt`: nine letters and digits, which all templates take.
    The same prompt gives the same ones, and another, as a later one of the conversation, others."""
    counter = count()

    def new_id() -> str:
        digest = sha256(f"{next(counter)} {prompt}".encode()).digest()
        return b32encode(digest).decode().lower()[:_ID_LENGTH]

    return new_id


class AnswerReader(ABC):
    """What splits an answer that comes in pieces. What is not decided yet begins at `_at` in `_text`."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._out: list[ChatDelta] = []

    def push(self, text: str) -> list[ChatDelta]:
        """What is decided with the next piece."""
        self._text, self._at = self._text[self._at :] + text, 0
        while self._advance():
            pass
        return self._taken()

    @abstractmethod
    def finish(self) -> list[ChatDelta]:
        """The rest, at the end of the answer."""

    @abstractmethod
    def _advance(self) -> bool:
        """Decides what the next part of the text is; False if that needs more text."""

    @abstractmethod
    def _say(self, text: str) -> None:
        """Gives text of the part in which we are."""

    def _say_up_to(self, pattern: re.Pattern[str], marks: Iterable[str]) -> re.Match[str] | None:
        """Says the text before the next of `marks`, which `pattern` finds, and goes on after it. None if it
        has not come: what may be its beginning is held back."""
        found = pattern.search(self._text, self._at)
        if found is None:
            held = max((overlap(self._text, mark, self._at) for mark in marks), default=0)
            start = end = len(self._text) - held
        else:
            start, end = found.span()
        self._say(self._text[self._at : start])
        self._at = end
        return found

    def _taken(self) -> list[ChatDelta]:
        out, self._out = self._out, []
        return out


class _Part(Enum):
    START = auto()  # nothing was said yet, or a call has ended
    REASONING = auto()
    CONTENT = auto()
    CALL = auto()


class AnswerParser(AnswerReader):
    """Takes the pieces of one answer.

    What it has given it never takes back: an end of the text that may be the beginning of a marker is held
    back until that is decided, and so is white space that may stand before one. A call comes when it is
    complete; one that is malformed is content. `reasoning`: the texts before and after it. `schemas`, of the
    tools by name, are those that may be called: None, and nothing is taken for a call. The work is linear in
    the length of the text.
    """

    def __init__(
        self,
        reasoning: tuple[str, str] | None,
        tools: ToolFormat,
        schemas: Schemas | None = None,
        *,
        in_reasoning: bool = False,
        new_id: Callable[[], str],
    ) -> None:
        super().__init__()
        self._reasoning = reasoning
        self._tools = tools.bound(schemas)
        self._schemas = schemas or {}
        self._new_id = new_id
        self._part = _Part.REASONING if in_reasoning else _Part.START
        self._space: list[str] = []
        self._is_silent = True  # nothing was said in this part
        self._keeps_space = not in_reasoning  # white space before all words: at the start of an answer only
        self._call: list[str] = []
        self._scanner: Scanner = EndsAtOnce()
        self._n_calls = 0

    def finish(self) -> list[ChatDelta]:
        if self._part is _Part.CALL:
            self._end_call()
        self._say(self._text[self._at :])
        self._at = len(self._text)
        if self._part is not _Part.REASONING:
            self._flush_space()
        return self._taken()

    def _advance(self) -> bool:
        match self._part:
            case _Part.START:
                return self._begin()
            case _Part.CALL:
                return self._go_on_with_call()
        found = self._say_up_to(*self._openers())
        if found is None:
            return False
        if self._part is _Part.REASONING:
            self._enter(_Part.START)
        else:
            self._begin_call(found[0])
        return True

    def _openers(self) -> tuple[re.Pattern[str], tuple[str, ...]]:
        """The texts that end the part in which we are."""
        texts = self._tools.openers
        if self._part is _Part.REASONING and self._reasoning:
            texts = (self._reasoning[1],)
        return _any_of(texts), texts

    def _begin(self) -> bool:
        """Decides what begins after white space; False if that is open."""
        found = _NO_SPACE.search(self._text, self._at)
        end = found.start() if found else len(self._text)
        self._space.append(self._text[self._at : end])
        self._at = end
        if end == len(self._text):
            return False
        begin = (self._reasoning[0],) if self._reasoning else ()
        calls = self._tools.openers_at_start
        for opener in sorted((*begin, *calls), key=len, reverse=True):
            if self._text.startswith(opener, end):
                self._at += len(opener)
                if opener in begin:
                    self._enter(_Part.REASONING)
                else:
                    self._begin_call(opener)
                return True
            if len(self._text) - end < len(opener) and opener.startswith(self._text[end:]):
                return False
        self._part = _Part.CONTENT
        return True

    def _enter(self, part: _Part) -> None:
        self._part = part
        self._space, self._is_silent, self._keeps_space = [], True, False

    def _say(self, text: str) -> None:
        """Gives text of this part; white space at its end is kept until more comes."""
        said = text.rstrip()
        if not said:
            if text:
                self._space.append(text)
            return
        if self._is_silent and not self._keeps_space:
            said, self._space = said.lstrip(), []
        space, self._space = "".join(self._space), [text[len(text.rstrip()) :]]
        self._is_silent = False
        self._give(space + said)

    def _flush_space(self) -> None:
        space, self._space = "".join(self._space), []
        if space and (self._keeps_space or not self._is_silent):
            self._give(space)

    def _give(self, text: str) -> None:
        if self._part is _Part.REASONING:
            self._out.append(ChatDelta(reasoning=text))
        elif text:
            self._out.append(ChatDelta(content=text))

    def _begin_call(self, opener: str) -> None:
        self._part = _Part.CALL
        self._call, self._scanner = [opener], self._tools.scanner(opener)

    def _go_on_with_call(self) -> bool:
        end = self._scanner.feed(self._text, self._at)
        self._call.append(self._text[self._at : end])
        self._at = len(self._text) if end is None else end
        if end is not None:
            self._end_call()
        return end is not None

    def _end_call(self) -> None:
        """Gives the calls, or what they were meant to be as content."""
        text = "".join(self._call)
        calls = self._tools.calls(text, self._schemas)
        self._call = []
        if calls is None:
            self._part = _Part.CONTENT
            self._say(text)
        else:
            if calls:
                self._out.append(ChatDelta(tool_calls=tuple(map(self._delta, calls))))
            self._enter(_Part.START)

    def _delta(self, call: ParsedCall) -> ToolCallDelta:
        index, self._n_calls = self._n_calls, self._n_calls + 1
        return ToolCallDelta(index, call.id or self._new_id(), FunctionCall(call.name, call.arguments))


@lru_cache(64)
def _any_of(texts: tuple[str, ...]) -> re.Pattern[str]:
    """Finds the first of the texts; the longest, if several begin there."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)")


def overlap(text: str, marker: str, start: int) -> int:
    """The length of the longest end of `text`, after `start`, that is a proper beginning of `marker`."""
    longest = min(len(text) - start, len(marker) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(marker[:n])), 0)
