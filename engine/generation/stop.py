"""Finds stop strings in a text that comes in pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopScanner:
    """Cuts a text that comes in pieces before the first stop string.

    Stop strings may contain control tokens that are not shown. An end of the text so far that may be the
    beginning of a stop string is held back until it is decided.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._held: deque[tuple[str, str]] = deque()
        self.found = False

    def push(self, piece: str, shown: str) -> str:
        """The text that can be shown after `piece`; sets `found` when a stop string is complete.

        `shown`: the part of `piece` to show: all of it, or "" for a control token that is left out.
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
        """The text that was held back, at the end."""
        text = "".join(shown for _, shown in self._held)
        self._held.clear()
        return text

    def _release(self, length: int) -> str:
        """Releases the first `length` held characters; -> the shown part of them."""
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
    """The length of the longest end of `text` that is a proper beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
