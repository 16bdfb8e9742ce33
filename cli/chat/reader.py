"""What the user says: a line, or several; from a terminal, or from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from ..texts import stdin_lines, unicode_of

QUOTE = '"""'


def questions(line: Callable[[bool], str]) -> Iterator[str]:
    """What the user says, time after time, without empty ones, until `line` raises EOFError. `line(more)`
    gives the next line; `more`: one that goes on with what was said.

    A line that ends with a backslash goes on; so does one that begins with three quotes, until they come
    again.
    """
    with suppress(EOFError):
        while True:
            said = line(False)
            if said.lstrip().startswith(QUOTE):
                said = said.lstrip()[len(QUOTE) :]
                while QUOTE not in said:
                    said += "\n" + line(True)
                said = said.partition(QUOTE)[0]
            else:
                while said.endswith("\\"):
                    said = said[:-1] + "\n" + line(True)
            if said.strip():
                yield said.strip("\n")


def piped_line() -> Callable[[bool], str]:
    """Lines of standard input, which is no terminal."""
    lines = stdin_lines("-", "standard input")

    def line(more: bool) -> str:
        for found in lines:
            return found
        raise EOFError

    return line


def typed_line() -> Callable[[bool], str]:
    """Lines of a terminal. With Python's readline module they can be edited, and called back."""
    with suppress(ImportError):
        import readline

        readline.parse_and_bind("set enable-bracketed-paste on")  # a pasted text is one question

    def line(more: bool) -> str:
        sys.stdout.flush()
        return unicode_of(input("... " if more else ">>> "))

    return line
