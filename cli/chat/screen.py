"""Shows answers as they come: words as they are, reasoning dimmed."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable

from ...engine.chat.message import ChatDelta
from ...system.notices import say

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"
_TURNING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # characters that change the direction of others


def safe(text: str) -> str:
    """`text` with escapes for characters that control a terminal, but for line breaks and tabs."""
    return "".join(
        repr(letter)[1:-1]
        if (unicodedata.category(letter) == "Cc" and letter not in "\n\t") or ord(letter) in _TURNING
        else letter
        for letter in text
    )


def has_styles() -> bool:
    """May stdout be given colours and the like? NO_COLOR (no-color.org) forbids it."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Screen:
    """Prints answers on stdout; where that is no terminal, the words alone, as they are."""

    def show(self, answer: Iterable[ChatDelta]) -> None:
        """Prints the pieces as they come, and ends the line, also if reading them raises."""
        try:
            self._print(answer)
        finally:
            self._end()

    def note(self, text: str) -> None:
        """A line about the conversation, on stderr."""
        say(text)

    def _print(self, answer: Iterable[ChatDelta]) -> None:
        is_terminal = sys.stdout.isatty()
        begin, end = (_DIM, _PLAIN) if has_styles() else ("", "")
        thinks = False
        for delta in answer:
            if delta.reasoning and is_terminal:
                self._write(f"{begin}{safe(delta.reasoning)}{end}")
                thinks = True
            if delta.content:
                self._write(
                    ("\n\n" if thinks else "") + (safe(delta.content) if is_terminal else delta.content)
                )
                thinks = False
            for call in delta.tool_calls:
                self._write(safe(f"{call.function.name}({call.function.arguments})"))

    def _write(self, text: str) -> None:
        print(text, end="", flush=True)

    def _end(self) -> None:
        print(flush=True)
