"""The standard streams of a command, which may be closed, full, or unable to encode every character."""

import io
import json
import logging
import os
import sys
from contextlib import suppress
from typing import Any

from .plain_text import plain


class _Warnings(logging.Handler):
    """Prints the warnings of the library on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"nybble: warning: {plain(record.getMessage())}")


_WARNINGS = _Warnings(logging.WARNING)


def open_streams() -> None:
    """Replaces closed streams by `os.devnull`, lets stdout write characters that its encoding lacks as
    escapes, and prints the library's warnings on stderr."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # opening takes the lowest descriptor that is free: the stream's own
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.getLogger("nybble").addHandler(_WARNINGS)


def complain(line: str) -> None:
    """Prints a line on stderr, if that can be written to."""
    with suppress(OSError):
        print(line, file=sys.stderr)


def abandon_unwritable() -> None:
    """Drops output that a full disk or a closed pipe did not take: else Python fails to write it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(value: Any, indent: int | None = None) -> None:
    """Prints a value on stdout as JSON, in ASCII unless stdout is UTF-8: JSON has no other encoding."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=indent, ensure_ascii=not is_utf8), flush=True)
