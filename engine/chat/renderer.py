"""Renders templates in a process of its own, with limits of time and memory, which is restarted when it dies.

Jinja's sandbox and our counting (`sandbox.py`) stop nearly all that a template may do to harm; the process is
for the rest. It starts with the first conversation, in about 0.1 s, and waits for the next.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any, cast

from .json_pipe import read_message, write_message

_MAX_WALL_SECONDS = 10.0  # more than the limit of the processor: the machine may be busy
_PROGRAM = "import sys; sys.path[:] = {path!r}; from {package}.render_process import main; main()"


class RendererDiedError(Exception):
    """The process has exceeded its limits."""


class Renderer:
    """The handle of the process; threads may share it, and a fork of this process gets another."""

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply of `render_process.reply_to`. RendererDiedError if it took too much time or memory;
        OSError if no process can be started."""
        if not sys.executable or getattr(sys, "frozen", False):  # there is no Python to start
            from .render_process import reply_to

            return reply_to(request)
        with self._lock:
            process = self._running()
            requests, replies = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
            timer = threading.Timer(_MAX_WALL_SECONDS, process.kill)
            timer.start()
            try:
                write_message(requests, request)
                reply = read_message(replies)
            except OSError:
                reply = None
            except BaseException:  # as Ctrl-C: its answer would be taken for that to the next request
                self._end()
                raise
            finally:
                timer.cancel()
            if reply is None:
                self._end()
                raise RendererDiedError
            return reply

    def close(self) -> None:
        """Ends the process, if there is one."""
        with self._lock:
            self._end()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM.format(path=sys.path, package=__package__)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not written yet cannot be any more
                    pipe.close()


RENDERER = Renderer()
"""One for all templates of this program."""

atexit.register(RENDERER.close)
