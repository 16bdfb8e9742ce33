"""Finds stop strings in text that comes piece by piece."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopScanner:
    """Cuts a text that comes in pieces before the first stop string.

    They are sought in all of the text, of which not all is shown: control tokens may be left out. The end of
    what has come may be the beginning of a stop string; so much is held back until it is decided.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._held: deque[tuple[str, str]] = deque()
        self.found = False

    def push(self, piece: str, shown: str) -> str:
        """The text that can be shown after `piece` has come; sets `found` when a stop string is complete.

        `shown`: the beginning of `piece` that is to be shown, which is all of it but for a control token.
        """
        self._held.append((piece, shown))
        text = "".join(piece for piece, _ in self._held)
        starts = [start for start in map(text.find, self._stop) if start >= 0]
        if starts:
            released = self._release(min(starts))
            self.found = True
            self._held.clear()
            return released
        return self._release(len(text) - max((_overlap(text, stop) for stop in self._stop), default=0))

    def flush(self) -> str:
        """What was held back, when no more will come."""
        text = "".join(shown for _, shown in self._held)
        self._held.clear()
        return text

    def _release(self, length: int) -> str:
        """What is shown of the first `length` characters that are held."""
        released = ""
        while self._held and len(self._held[0][0]) <= length:
            piece, shown = self._held.popleft()
            released += shown
            length -= len(piece)
        if length:
            piece, shown = self._held[0]
            released += shown[:length]
            self._held[0] = piece[length:], shown[length:]
        return released


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
