"""The standard streams of a command, which may be closed, full, or unable to hold every letter."""

import io
import json
import logging
import os
import sys
from contextlib import suppress
from typing import Any

from .plain_text import plain


class _Warnings(logging.Handler):
    """Shows the warnings of the library."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"nybble: warning: {plain(record.getMessage())}")


_WARNINGS = _Warnings(logging.WARNING)


def open_streams() -> None:
    """Puts nothing (`os.devnull`) in the place of streams that are closed, lets stdout write every text, with
    escapes for letters that its encoding lacks, and shows the library's warnings on stderr."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # opening takes the lowest descriptor that is free: the stream's own
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.getLogger("nybble").addHandler(_WARNINGS)


def complain(line: str) -> None:
    """A line on stderr, if that takes it: there is nobody else to tell."""
    with suppress(OSError):
        print(line, file=sys.stderr)


def abandon_unwritable() -> None:
    """Drops what a full disk or a closed pipe has not taken: at exit Python would try again, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_json(value: Any, indent: int | None = None) -> None:
    """A value on stdout: in ASCII unless stdout is UTF-8, since JSON has no other encoding."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=indent, ensure_ascii=not is_utf8), flush=True)
