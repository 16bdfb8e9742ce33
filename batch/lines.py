"""The lines of a file, of whatever length: no more of one is kept than a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_CHUNK = 1 << 20


class Line(NamedTuple):
    """A line without its end; of one that is longer than the limit, the beginning."""

    content: bytes
    n_bytes: int
    """Of all of it in the file, with its end."""
    is_cut: bool
    """Is it longer than the limit?"""
    is_ended: bool
    """Does a line end stand after it?"""


def lines(file: BinaryIO, max_bytes: int) -> Iterator[Line]:
    """The lines of an open file that are not blank, each with at most `max_bytes` of its content."""
    while content := file.readline(max_bytes + 1):
        n_bytes, piece = len(content), content
        while not piece.endswith(b"\n") and (piece := file.readline(_CHUNK)):
            n_bytes += len(piece)
        is_ended, is_cut = piece.endswith(b"\n"), n_bytes > max_bytes + 1
        if content.strip():
            yield Line(content[:max_bytes].rstrip(b"\r\n"), n_bytes, is_cut, is_ended)
