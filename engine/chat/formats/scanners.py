"""Finds where a call ends in a text that comes in pieces. Each character is read once."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Scanner(ABC):
    """Finds the end of a call."""

    @abstractmethod
    def feed(self, text: str, start: int) -> int | None:
        """Where in the next text, which is new from `start` on, the call ends; None if it goes on."""


class UntilText(Scanner):
    """The call ends with the text `end`; one inside a JSON string does not count if it `skips_strings`."""

    def __init__(self, end: str, skips_strings: bool = False) -> None:
        self._end = end
        self._skips_strings = skips_strings
        self._tail = ""  # the last characters outside strings, as many as may begin the end
        self._strings = _Strings()

    def feed(self, text: str, start: int) -> int | None:
        if not self._skips_strings:
            n = len(self._end)
            across = (self._tail + text[start : start + n - 1]).find(self._end)
            if across >= 0:
                return start - len(self._tail) + across + n
            found = text.find(self._end, start)
            if found >= 0:
                return found + n
            self._tail = (self._tail + text[max(start, len(text) - n + 1) :])[-n + 1 :] if n > 1 else ""
            return None
        for i in range(start, len(text)):
            letter = text[i]
            self._tail = "" if self._strings.is_inside(letter) else (self._tail + letter)[-len(self._end) :]
            if self._tail == self._end:
                return i + 1
        return None


class UntilJsonEnds(Scanner):
    """The call ends with the object or list that comes first after the text `after`."""

    def __init__(self, after: str = "") -> None:
        self._before = UntilText(after) if after else None
        self._strings = _Strings()
        self._depth = 0
        self._has_begun = False

    def feed(self, text: str, start: int) -> int | None:
        if self._before is not None:
            found = self._before.feed(text, start)
            if found is None:
                return None
            self._before, start = None, found
        for i in range(start, len(text)):
            letter = text[i]
            if self._strings.is_inside(letter):
                continue
            if letter in "{[":
                self._depth += 1
                self._has_begun = True
            elif letter in "}]":
                self._depth -= 1
            if self._has_begun and self._depth <= 0:
                return i + 1
        return None


class UntilTheEnd(Scanner):
    """The call ends where the answer ends."""

    def feed(self, text: str, start: int) -> int | None:
        return None


class _Strings:
    """Where the strings of a JSON text are."""

    def __init__(self) -> None:
        self._is_open = self._is_escaped = False

    def is_inside(self, letter: str) -> bool:
        """Does the next letter belong to a string? Its quotes do."""
        if not self._is_open:
            self._is_open = letter == '"'
            return self._is_open
        if self._is_escaped:
            self._is_escaped = False
        elif letter == "\\":
            self._is_escaped = True
        elif letter == '"':
            self._is_open = False
        return True


class EndsAtOnce(Scanner):
    """The opener is all."""

    def feed(self, text: str, start: int) -> int | None:
        return start
