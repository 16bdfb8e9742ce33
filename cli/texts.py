"""The text that a command reads: a word of the command line, a file, or standard input."""

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import BinaryIO

from ..errors import RequestError
from ..system.notices import say

_PIECE = 1 << 20  # bytes


def text_of(word: str | None, name: str) -> str:
    """`word`, called `name` in messages, or the text of standard input if it is "-" or None."""
    if word is None or word == "-":
        with open_text(word, name) as file:
            return "".join(pieces(file, word))
    if _n_waiting():
        say(f"standard input is not read, since {name} is given")
    return unicode_of(word)


def read_text(path: str | None) -> str:
    """The text of the file that -f names, of standard input for None; RequestError if it is not UTF-8, the
    system's error if it cannot be read."""
    with open_text(path, "-f TEXT") as file:
        return "".join(pieces(file, path))


def unicode_of(word: str) -> str:
    """The word as Unicode: where the locale cannot decode it, Python leaves its bytes as surrogates."""
    with suppress(UnicodeError):
        return word.encode(errors="surrogateescape").decode()
    return word


def stdin_lines(path: str | None, name: str) -> Iterator[str]:
    """The lines of standard input, without their ends, as they come; `path` and `name` as in `open_text`."""
    with open_text(path, name) as file:
        return (line.rstrip("\r\n") for line in pieces(file, path, 1))


def open_text(path: str | None, name: str) -> AbstractContextManager[BinaryIO]:
    """Opens the file, called `name` in messages; standard input for the path "-" or None.

    RequestError for None if standard input is empty, or a terminal: the user would not know that it is read.
    """
    if path is None and sys.stdin.isatty():
        raise RequestError(f"{name} is missing; give it, or pipe a text into the command (- to type it)")
    if path is None and not sys.stdin.buffer.peek(1):  # type: ignore[union-attr]
        raise RequestError(f"{name} is missing, and standard input is empty")
    if path is None or path == "-":
        return nullcontext(sys.stdin.buffer)
    return open(os.path.expanduser(path), "rb")


def pieces(file: BinaryIO, path: str | None, n_bytes: int = _PIECE) -> Iterator[str]:
    """The text of an open file in pieces of `n_bytes` or more, cut after ends of lines; RequestError if it is
    not UTF-8."""
    n_read = 0
    while lines := file.readlines(n_bytes):
        raw = b"".join(lines)
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            name = "standard input" if path in (None, "-") else path
            wrong = f"byte {raw[error.start]:#04x} at {n_read + error.start}"
            raise RequestError(f"{name} is not a text in UTF-8: {wrong}") from error
        n_read += len(raw)


def _n_waiting() -> int:
    """The number of bytes that wait in a standard input that is a file or a pipe, 0 where the system does not
    say. They are not read: another program may need them."""
    try:
        import fcntl
        import termios

        found = fcntl.ioctl(sys.stdin.fileno(), termios.FIONREAD, bytes(4))
        return 0 if sys.stdin.isatty() else int.from_bytes(found, sys.byteorder)
    except (ImportError, OSError, ValueError):
        return 0
