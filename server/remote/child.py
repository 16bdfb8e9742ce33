"""The process of an engine: it loads a model, runs what the front asks for, and ends with the front."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from ...engine.llm import LLM
from ...errors import NybbleError
from ...system.notices import be_quiet
from .fallback import affordable
from .messages import (
    Begin,
    Cancel,
    Failed,
    Loaded,
    Notice,
    Question,
    Start,
    TakeTurns,
    portable,
)
from .questions import Questions
from .step_turn import StepTurn
from .texts import Texts

_PR_SET_PDEATHSIG = 1


class Pipe:
    """The two ends that this process has; messages may be sent by several threads."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests, self._replies = requests, replies
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Sends a message whole. Without a front to read it the process ends."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        try:
            with self._lock:
                self._replies.write(data)
                self._replies.flush()
        except OSError:
            os._exit(0)

    def receive(self) -> Any:
        """The next message. Without a front to send one the process ends: nothing is kept that a sudden end
        could harm."""
        try:
            return pickle.load(self._requests)
        except (EOFError, OSError):
            os._exit(0)


class Child:
    """A model, and what is asked of it."""

    def __init__(self, llm: LLM, pipe: Pipe) -> None:
        self._llm, self._pipe = llm, pipe
        self._texts = Texts(llm, pipe.send)
        self._turn = StepTurn(self._texts.tell_begun)
        llm.scheduler.executor.turn = self._turn
        self._questions = Questions(llm, pipe.send)

    def run(self) -> None:
        """Serves for ever."""
        while True:
            message = self._pipe.receive()
            if isinstance(message, Begin):
                self._texts.begin(message)
            elif isinstance(message, Cancel):
                self._texts.cancel(message)
                self._questions.cancel(message)
            elif isinstance(message, Question):
                self._questions.begin(message)
            elif isinstance(message, TakeTurns):
                self._turn.share(None if message.folder is None else Path(message.folder))


def main() -> None:
    """Runs the process by its standard input and output."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # which the whole group may get: the front decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    pipe = Pipe(sys.stdin.buffer, _own_stdout())
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)
    start: Start = pipe.receive()
    _end_with(start.parent)
    be_quiet(start.is_quiet)
    try:
        child = _loaded(start, pipe)
    except BaseException as error:
        if not isinstance(error, NybbleError | OSError | MemoryError):  # a fault of ours
            traceback.print_exc()
        pipe.send(Failed(portable(error)))
        return
    child.run()


def _loaded(start: Start, pipe: Pipe) -> Child:
    options, notice = affordable(start.path, start.options, start.falls_back)
    if notice:
        pipe.send(Notice(notice))
    llm = LLM(start.path, **options)
    child = Child(llm, pipe)
    pipe.send(
        Loaded(
            llm.info,
            llm.file_identity,
            llm.scheduler.n_outputs,
            options.get("draft") is not None,
            (llm.load_seconds, llm.compile_seconds),
            notice,
        )
    )
    return child


def _own_stdout() -> IO[bytes]:
    """Standard output for messages alone: what anything prints there goes to standard error."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "wb")


def _end_with(parent: int) -> None:
    """Lets the system kill this process when the front dies, even while kernels run. Elsewhere than on Linux
    the end of the pipe has to do."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was too late
        os._exit(0)
