"""A program in a terminal of its own (a pseudo-terminal), typed at and read as a person would."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from typing import Self

_ESCAPE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[=>78]")
_PATIENCE = 60.0  # seconds; a program that waits for a key would wait for ever
_ENVIRONMENT = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}


class Terminal:
    """Runs `nybble` with some words in a terminal of `rows` x `columns`; `seen` is all that it has shown."""

    def __init__(
        self, *words: object, rows: int = 24, columns: int = 80, environment: Mapping[str, str] | None = None
    ) -> None:
        self._mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nybble", *map(str, words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
        )
        os.close(theirs)
        self._at = 0

    @property
    def seen(self) -> str:
        """What was shown, without escape sequences."""
        return _ESCAPE.sub(b"", self.raw).decode(errors="replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Types some keys: "\\r" is Enter, "\\x03" Ctrl-C, "\\x04" Ctrl-D."""
        os.write(self._mine, text.encode())

    def wait_for(self, text: str) -> str:
        """Reads until `text` is shown, after what was waited for before; -> all from there to its end."""
        start = time.monotonic()
        while (found := self.seen.find(text, self._at)) < 0:
            assert time.monotonic() - start < _PATIENCE, (
                f"{text!r} does not come; there is {self.seen[self._at :]!r}"
            )
            if not self._read(0.2) and self._process.poll() is not None and not self._read(0.2):
                raise AssertionError(f"it has ended; {text!r} is not in {self.seen[self._at :]!r}")
        before, self._at = self._at, found + len(text)
        return self.seen[before : self._at]

    def type_until(self, keys: str, text: str) -> str:
        """Types some keys again and again until `text` is shown, as somebody does who waits for history that
        is still being read; -> what `wait_for` gives."""
        start = time.monotonic()
        while self.seen.find(text, self._at) < 0 and time.monotonic() - start < _PATIENCE:
            self.type(keys)
            while self._read(0.5):
                pass
        return self.wait_for(text)

    def end(self) -> int:
        """Waits for the end of the program; -> its exit code."""
        start = time.monotonic()
        while self._process.poll() is None:
            assert time.monotonic() - start < _PATIENCE, (
                f"it does not end; there is {self.seen[self._at :]!r}"
            )
            self._read(0.2)
        while self._read(0.2):
            pass
        return self._process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._mine], [], [], seconds)[0]:
            return False
        try:
            found = os.read(self._mine, 1 << 16)
        except OSError:  # Linux's way to say that nobody is there any more
            return False
        self.raw += found
        return bool(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._mine)
