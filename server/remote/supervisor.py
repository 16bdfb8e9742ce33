"""Keeps the process of an engine alive: starts it, reads what it says, and starts it again when it dies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ...errors import EngineError, NybbleError
from ..work.engine_status import EngineState
from .events import EngineEvent, OnEvent
from .ledger import Ledger
from .messages import Failed, Loaded, Notice, TakeTurns
from .process import EngineProcess

_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_HEALTHY_SECONDS = 20.0  # an end after that was no part of a loop: restarts wait for nothing again
_N_STARTS_MAX = 3
"""Starts that have failed in a row; then requests wait for the next one no more."""

OnLine = Callable[[str], object]


class Supervisor:
    """`start` makes a process of the engine. `problem()` is why there can be no other one, or None. `name` is
    what messages call the model."""

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        start: Callable[[OnLine], EngineProcess],
        problem: Callable[[], EngineError | None],
        on_event: OnEvent,
    ) -> None:
        self.state: EngineState = "loading"
        self.n_restarts = 0
        self.loaded: Loaded | None = None
        """What the first process has said; the others are like it."""
        self._name, self._ledger, self._start, self._problem = name, ledger, start, problem
        self._on_event = on_event
        self._process: EngineProcess | None = None
        self._end: BaseException | None = None  # why nothing is taken any more
        self._turns: TakeTurns | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nybble-engine", daemon=True)

    @property
    def pid(self) -> int | None:
        """The number of the process, while there is one."""
        process = self._process
        return None if process is None else process.pid

    def begin(self) -> None:
        """Starts the first process."""
        self._thread.start()

    def wait_loaded(self) -> Loaded:
        """Waits until the model is loaded; raises why it cannot be."""
        with self._ledger.news:
            self._ledger.news.wait_for(lambda: self.loaded is not None or self._end is not None)
        if self.loaded is None and self._end is not None:
            raise self._end
        return self.loaded  # type: ignore[return-value]  # it is one of the two

    def check_usable(self) -> None:
        """Raises why nothing is taken."""
        if self._end is not None:
            raise type(self._end)(*self._end.args)  # each its own, for the sake of its traceback
        if self.state == "down":
            raise self.error("has died, and has not come up again yet; ask again later")

    def take_turns(self, turns: TakeTurns) -> None:
        """Says with whom the engine takes turns, to this process and to those that follow."""
        with self._ledger.news:
            self._turns = turns
            if self._process is not None and self.state == "ready":
                self._process.send(turns)

    def lose(self, error: EngineError) -> None:
        """Ends the engine for good, and all that was asked of it."""
        with self._ledger.news:
            if self._end is not None:
                return
            self._end, self.state = error, "lost"
        self._is_over.set()
        self._log("lost", str(error), logging.ERROR)
        self._ledger.fail_all(lambda: EngineError(*error.args))
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process, and all that was asked of it."""
        with self._ledger.news:
            self.state = "closed"
            self._end = NybbleError(f"the model {self._name} has been closed")
        self._is_over.set()
        self._ledger.fail_all(lambda: NybbleError(f"the model {self._name} has been closed"))
        if (process := self._process) is not None:
            process.end()
        if self._thread.is_alive():
            self._thread.join()

    def error(self, what: str) -> EngineError:
        """What has happened to the engine of this model."""
        return EngineError(f"the engine of {self._name} {what}")

    def _run(self) -> None:
        try:
            self._supervise()
        except Exception as error:  # a fault of ours: nobody shall wait for ever
            self._log("lost", f"the supervisor has failed: {error!r}", logging.ERROR)
            self.lose(self.error("is lost, by a fault of the server; its log has the cause"))
            raise

    def _supervise(self) -> None:
        n_tries = n_failed = 0
        while not self._is_over.is_set():
            loaded_at, error = self._live()
            if self._is_over.is_set():
                return
            if self.loaded is None:
                with self._ledger.news:
                    self._end = error
                    self._ledger.news.notify_all()
                return
            if (problem := self._problem()) is not None:
                self.lose(problem)
                return
            if loaded_at is None:
                n_failed += 1
                if isinstance(error, NybbleError) and not isinstance(error, EngineError):
                    self.lose(self.error(f"has died, and the model cannot be loaded again: {error}"))
                    return
            else:
                n_failed = 0
                if time.monotonic() - loaded_at > _HEALTHY_SECONDS:
                    n_tries = 0
            if n_failed >= _N_STARTS_MAX:
                self.state = "down"
                self._ledger.fail_all(lambda: self.error("has died, and does not come up again"))
            delay = _DELAYS[min(n_tries, len(_DELAYS) - 1)]
            n_tries += 1
            self._log("restarting", "engine restarts", logging.WARNING, after_seconds=delay)
            if not self._is_over.wait(delay):
                self.n_restarts += 1

    def _live(self) -> tuple[float | None, BaseException | None]:
        """The life of one process; -> when it had loaded the model, and why it has ended."""
        loaded_at: float | None = None
        error: BaseException | None = None
        try:
            process = self._start(lambda line: self._log("says", line))
        except OSError as failure:
            return None, failure
        self._process = process
        if self._is_over.is_set():
            process.kill()
        for message in process.messages():
            if isinstance(message, Loaded):
                loaded_at, error = time.monotonic(), self._begin(message, process)
                if error is not None:
                    process.kill()
            elif isinstance(message, Failed):
                error = message.error
            elif isinstance(message, Notice):
                self._log("memory", message.text, logging.WARNING)
            elif self._ledger.read(message) and (problem := self._problem()) is not None:
                self.lose(problem)
        cause = process.wait()
        self._process = None
        if self._is_over.is_set():
            return loaded_at, error
        if error is None:
            what = "has died" if loaded_at is not None else "has died while it loaded the model"
            error = self.error(f"{what} ({cause})")
        self._log("died", str(error), logging.ERROR, pid=process.pid)
        if self.loaded is not None and self.state == "ready":
            self.state = "restarting"
        if loaded_at is not None and self._problem() is None:  # if not, all fail for another reason
            self._ledger.after_death(
                lambda advice: self.error(f"has died ({cause}) and is being restarted; {advice}")
            )
        return loaded_at, error

    def _begin(self, message: Loaded, process: EngineProcess) -> NybbleError | None:
        """The model is loaded: what waits can run. -> Why it is the wrong one."""
        with self._ledger.news:
            if self.loaded is not None and self.loaded.identity != message.identity:
                return NybbleError("another file has taken its place")
            self.loaded = self.loaded or message
            if self._is_over.is_set():
                return None
            self.state = "ready"
            if self._turns is not None:
                process.send(self._turns)
            self._ledger.begin(process.send)
            self._ledger.news.notify_all()
        load, compile_ = message.seconds
        self._log("loaded", "engine runs", pid=process.pid, load=round(load, 3), compile=round(compile_, 3))
        return None

    def _log(self, kind: str, message: str, level: int = logging.INFO, **facts: object) -> None:
        self._on_event(EngineEvent(kind, message, level, {"model": self._name, **facts}))
