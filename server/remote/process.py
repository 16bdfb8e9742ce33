"""One process of an engine, as the front has it."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

from .messages import Start

_PROGRAM = "import sys; sys.path[:] = {path!r}; from {package}.child import main; main()"
_PATIENCE = 5.0  # seconds for a process that is told to end
_MAX_LINE = 4000  # characters of a line of its standard error


class EngineProcess:
    """Starts the process. `on_line` gets the lines of its standard error, from a thread of its own."""

    def __init__(self, start: Start, on_line: Callable[[str], object]) -> None:
        options: dict[str, Any] = {}
        if sys.platform == "win32":
            options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            options["process_group"] = 0  # Ctrl-C at the terminal is for the front
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM.format(path=sys.path, package=__package__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        self.pid = self._process.pid
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._on_line = on_line
        self._threads = [
            threading.Thread(target=work, name=f"nybble-engine-{name}", daemon=True)
            for name, work in (("writer", self._write), ("log", self._read_lines))
        ]
        for thread in self._threads:
            thread.start()
        self.send(start)

    def send(self, message: object) -> None:
        """Sends a message, soon; it never waits. What cannot be pickled raises what pickling raises."""
        self._outbox.put(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def messages(self) -> Iterator[Any]:
        """What comes, until the process ends."""
        stream = cast(IO[bytes], self._process.stdout)
        while True:
            try:
                message = pickle.load(stream)
            except (EOFError, OSError, pickle.UnpicklingError):  # it may have died in the middle of one
                return
            except Exception as error:  # of what cannot be read the rest cannot be trusted
                self._on_line(f"its message cannot be read: {error!r}")
                return
            yield message

    def end(self) -> None:
        """Ends it, from any thread: it is told to, and killed if it does not listen."""
        self._outbox.put(None)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def wait(self) -> str:
        """Waits for its end, and lets go of all that belongs to it; -> how it has died."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self._process.kill()  # it has closed its end of the pipe, and serves nobody
        code = self._process.wait()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join(_PATIENCE)
        for pipe in (self._process.stdout, self._process.stderr):
            cast(IO[bytes], pipe).close()
        return cause_of_death(code)

    def _write(self) -> None:
        pipe = cast(IO[bytes], self._process.stdin)
        while (data := self._outbox.get()) is not None:
            try:
                pipe.write(data)
                pipe.flush()
            except OSError:  # it has died, which whoever reads from it notices
                break
        with contextlib.suppress(OSError):
            pipe.close()

    def _read_lines(self) -> None:
        pipe = cast(IO[bytes], self._process.stderr)
        while line := pipe.readline(_MAX_LINE):
            if text := line.decode(errors="replace").rstrip():
                self._on_line(text.removeprefix("nybble: "))


def cause_of_death(code: int) -> str:
    """In words, by the exit code of a process."""
    if code >= 0 or os.name == "nt":
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = ""
    hints = {"SIGKILL": ", perhaps out of memory", "SIGBUS": ", perhaps its file was cut"}
    return f"signal {-code}{name and f' {name}'}{hints.get(name, '')}"
