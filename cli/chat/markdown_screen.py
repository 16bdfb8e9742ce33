"""Shows answers as Markdown while they come, with the package rich (extra `chat`)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment, Segments
from rich.text import Text

from ...engine.chat.message import ChatDelta
from .screen import Screen, safe

_DIM = "dim italic"
_SECONDS = 0.08  # between two pictures
_FENCE = re.compile(r" {0,3}(```+|~~~+)")


class MarkdownScreen(Screen):
    """Paragraphs, lists and code are printed for good when they are complete; the one that is growing is
    drawn again and again below them. So the terminal's own history has the answer once, however long."""

    def __init__(self) -> None:
        self._console = Console()
        self._reasoning = self._words = ""
        """What is not complete yet."""

    def _print(self, answer: Iterable[ChatDelta]) -> None:
        self._reasoning = self._words = ""
        drawn = 0.0
        try:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                for delta in answer:
                    self._take(delta)
                    if time.monotonic() - drawn > _SECONDS:
                        live.update(self._growing(), refresh=True)
                        drawn = time.monotonic()
        finally:
            self._print_reasoning(len(self._reasoning))
            if self._words.strip():
                self._console.print(Markdown(self._words))

    def _take(self, delta: ChatDelta) -> None:
        """Adds a piece, and prints what it completes."""
        self._reasoning += safe(delta.reasoning)
        self._print_reasoning(self._reasoning.rfind("\n") + 1)
        if delta.content or delta.tool_calls:
            if self._reasoning:
                self._print_reasoning(len(self._reasoning))
            for call in delta.tool_calls:
                self._words += f"\n\n`{safe(call.function.name)}({safe(call.function.arguments)})`\n\n"
            self._words += safe(delta.content)
            if end := end_of_blocks(self._words):
                self._console.print(Markdown(self._words[:end]))
                self._console.print()
                self._words = self._words[end:]

    def _print_reasoning(self, end: int) -> None:
        if end:
            self._console.print(Text(self._reasoning[:end].rstrip("\n"), style=_DIM))
            self._reasoning = self._reasoning[end:]

    def _growing(self) -> RenderableType:
        """What is not complete yet: as many of its last lines as the terminal has."""
        parts = [Text(self._reasoning, style=_DIM)] if self._reasoning else []
        lines = self._console.render_lines(Group(*parts, Markdown(self._words)), pad=False)
        shown = lines[-max(1, self._console.height - 2) :]
        return Segments([part for line in shown for part in (*line, Segment.line())])

    def _end(self) -> None:
        """Whatever is printed ends its line."""


def end_of_blocks(text: str) -> int:
    """Where the last complete paragraph, list or piece of code in Markdown ends, of those that more text
    cannot change: after an empty line that is in no fence."""
    end = at = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        at += len(line)
        if match := _FENCE.match(line):
            mark = match[1]
            if not fence:
                fence = mark
            elif mark[0] == fence[0] and len(mark) >= len(fence):
                fence = ""
        elif not line.strip() and line.endswith("\n") and not fence:
            end = at
    return end
