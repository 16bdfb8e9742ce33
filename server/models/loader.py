"""Loads models when they are asked for, and unloads idle ones: after a time, or to make room for others.

All decisions are made in the event loop; what takes time runs in threads. Those who wait are served in the
order in which they came, one load after the other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ...errors import NybbleError
from ..wire.errors import APIError
from ..work.runner import Runner
from ..work.served_model import ServedModel
from .catalog import Found
from .entry import Entry

Tell = Callable[..., object]
"""Writes a line of the log: `server.log.log`, of which this room knows nothing."""


class Loader:
    """Which of the entries are in memory, of which `budget` bytes may be used; None: all there is.

    `open_model` makes of what was found a model that is loaded; it blocks, and raises what is wrong. `clock`
    gives seconds. `on_failure` is told of errors that should not be.
    """

    def __init__(
        self,
        open_model: Callable[[Found], ServedModel],
        budget: int | None = None,
        *,
        tell: Tell = lambda message, level=0, **facts: None,
        on_failure: Callable[[BaseException, str], object] = lambda error, name: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.clock = clock
        self.n_loads = self.n_failed = self.n_unloads = 0
        self._open_model, self._tell, self._on_failure = open_model, tell, on_failure
        self._present: list[Entry] = []
        """Those that take memory."""
        self._queue: deque[Entry] = deque()
        """Those that are waited for, and are not being loaded yet."""
        self._loading: Entry | None = None
        self._threads = Runner("nybble-load")
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def n_present(self) -> int:
        """How many are in memory, or on the way."""
        return len(self._present)

    @property
    def n_bytes(self) -> int:
        """What the present ones take."""
        return sum(entry.n_bytes for entry in self._present)

    def add(self, entry: Entry) -> None:
        """A model that is loaded, and not to be unloaded."""
        self._present.append(entry)

    def load_now(self, entry: Entry) -> None:
        """Loads it before the event loop runs. Raises what is wrong with it."""
        began = time.perf_counter()
        self._begin(entry)
        try:
            self._end(entry, self._open_model(_found(entry)), began)
        except BaseException:
            self._forget(entry)
            raise

    def begin(self) -> None:
        """The event loop runs."""
        self._schedule()

    async def take(self, entry: Entry, on_wait: Callable[[], object]) -> ServedModel:
        """The model, loaded, which stays until `give_back`. `on_wait` is called before it is waited for.

        `APIError` if it needs more memory than there may ever be, or cannot be loaded.
        """
        if not entry.is_ready:
            self.check_fits(entry)
            on_wait()
            return await self._waited_for(entry)
        entry.n_users += 1
        if entry.model is None:
            raise RuntimeError(f"{entry.name} is loaded and has no model")
        return entry.model

    def give_back(self, entry: Entry) -> None:
        """One of those who use it does so no more."""
        entry.n_users -= 1
        entry.last_used = self.clock()
        if entry.keep_alive == 0:
            self.unload(entry, "asked for")
        self._go_on()

    def check_fits(self, entry: Entry) -> None:
        """`APIError` for what is larger than the whole budget."""
        if self.budget is not None and entry.found is not None and entry.cost > self.budget:
            raise APIError(
                400,
                f"the model {entry.name} needs {_mb(entry.cost)} of memory, and all models together may use"
                f" {_mb(self.budget)}: choose a smaller one, or a larger --memory",
                param="model",
                code="model_too_large",
            )

    def unload(self, entry: Entry, why: str) -> None:
        """Unloads it in the background, if it is idle."""
        if not entry.is_idle or entry.model is None:
            return
        entry.state, entry.is_leaving = "unloading", False
        self._do(self._unloaded(entry, entry.model, why))

    def unload_expired(self) -> None:
        """Unloads what has been idle for long enough."""
        now = self.clock()
        for entry in list(self._present):
            if entry.is_idle and now >= entry.last_used + entry.keep_alive:
                self.unload(entry, f"idle for {now - entry.last_used:.0f} s")
        self._schedule()

    def fail_all(self, error: BaseException) -> None:
        """Ends all that runs and all that waits."""
        for entry in self._present:
            if entry.model is not None:
                entry.model.runner.fail_all(error)
        for entry in [*self._queue, *filter(None, [self._loading])]:
            _refuse(entry, APIError(503, str(error)))

    def close(self) -> None:
        """Ends all work, and closes the models that were loaded here. One that is being loaded is closed as
        soon as it is."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for entry in self._present:
            if entry.model is not None and entry.found is None:
                entry.model.runner.close()
            elif entry.model is not None and entry.state == "loaded":
                _close(entry.model)
        self._present = []
        self._threads.close()

    async def _waited_for(self, entry: Entry) -> ServedModel:
        waiter: asyncio.Future[ServedModel] = asyncio.get_running_loop().create_future()
        entry.waiters.append(waiter)
        if entry not in self._queue and entry is not self._loading:
            self._queue.append(entry)
        self._go_on()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in entry.waiters:
                entry.waiters.remove(waiter)
                self._go_on()
            elif not waiter.cancelled() and waiter.exception() is None:  # it was given as the client left
                self.give_back(entry)
            raise

    def _go_on(self) -> None:
        """Serves those who wait as far as it goes; after every change."""
        for entry in self._present:
            entry.is_leaving = False
        while self._queue and self._loading is None and not self._is_closed:
            entry = self._queue[0]
            if entry.waiters and entry.state == "not loaded":
                if not self._makes_room(entry):
                    break
                self._queue.popleft()
                self._loading = entry
                self._begin(entry)
                self._do(self._loaded(entry))
            elif entry.waiters and entry.state == "unloading":
                break
            else:
                self._queue.popleft()
                self._serve(entry)
        for entry in list(self._queue):
            if entry.is_ready or not entry.waiters:
                self._queue.remove(entry)
                self._serve(entry)
        self._schedule()

    def _makes_room(self, entry: Entry) -> bool:
        """Is there room for it? If not, those that have to go are marked, and go as soon as all are idle: so
        nothing is unloaded before it is certain that this helps, and nobody can keep it waiting for ever."""
        if self.budget is None:
            return True
        lacking = self.n_bytes + entry.cost - self.budget
        if lacking <= 0:
            return True
        lacking -= sum(each.n_bytes for each in self._present if each.state == "unloading")
        leaving = []
        for each in sorted(self._present, key=lambda each: (each.n_users > 0, each.last_used)):
            if lacking > 0 and each.state == "loaded" and each.found is not None:
                leaving.append(each)
                lacking -= each.n_bytes
        for each in leaving:
            each.is_leaving = True
        if all(each.is_idle for each in leaving):
            for each in leaving:
                self.unload(each, f"room for {entry.name}")
        return False

    async def _loaded(self, entry: Entry) -> None:
        began = time.perf_counter()
        found = _found(entry)
        self._tell("loading", model=entry.name, bytes=entry.n_bytes)
        try:
            model = await self._threads.in_thread(self._opened, found)
        except Exception as error:
            self._forget(entry)
            self.n_failed += 1
            refusal = self._refusal(entry, found, error)
            entry.problem = refusal.message
            reason = str(error) or type(error).__name__
            self._tell("not loaded", logging.WARNING, model=entry.name, reason=reason)
            _refuse(entry, refusal)
        else:
            self._end(entry, model, began)
            self._serve(entry)
        finally:
            self._loading = None
            self._go_on()

    def _opened(self, found: Found) -> ServedModel:
        model = self._open_model(found)
        if self._is_closed:
            _close(model)
            raise NybbleError("the server ends")
        return model

    def _refusal(self, entry: Entry, found: Found, error: Exception) -> APIError:
        """What those who have waited are told; never where the file lies."""
        if not isinstance(error, NybbleError | OSError | MemoryError):
            self._on_failure(error, entry.name)
            return APIError(500, f"the server has failed to load {entry.name}; its log has the cause")
        reason = str(error) or "no memory is left"
        reason = reason.replace(str(found.path), f"the model {entry.name}")
        reason = reason.replace(f"{found.path.parent}/", "")
        return APIError(
            503, f"the model {entry.name} cannot be loaded: {reason}", param="model", code="model_not_loaded"
        )

    async def _unloaded(self, entry: Entry, model: ServedModel, why: str) -> None:
        began, n_bytes = time.perf_counter(), entry.n_bytes
        try:
            await self._threads.in_thread(_close, model)
        except Exception as error:
            self._on_failure(error, entry.name)
        self._forget(entry)
        self.n_unloads += 1
        seconds = round(time.perf_counter() - began, 3)
        self._tell("unloaded", model=entry.name, why=why, seconds=seconds, bytes=n_bytes)
        self._go_on()

    def _begin(self, entry: Entry) -> None:
        entry.n_bytes, entry.state, entry.keep_alive = entry.cost, "loading", entry.usual_keep_alive
        self._present.append(entry)

    def _end(self, entry: Entry, model: ServedModel, began: float) -> None:
        entry.model, entry.state, entry.problem, entry.last_used = model, "loaded", "", self.clock()
        self.n_loads += 1
        seconds = round(time.perf_counter() - began, 3)
        self._tell("loaded", model=entry.name, seconds=seconds, bytes=entry.n_bytes)

    def _forget(self, entry: Entry) -> None:
        entry.model, entry.state, entry.n_bytes = None, "not loaded", 0
        if entry in self._present:
            self._present.remove(entry)

    def _serve(self, entry: Entry) -> None:
        """Gives the model to all who wait for it."""
        waiters, entry.waiters = entry.waiters, []
        for waiter in waiters:
            if not waiter.done() and entry.model is not None:
                entry.n_users += 1
                waiter.set_result(entry.model)

    def _schedule(self) -> None:
        """Wakes up when the next one expires."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends = [each.last_used + each.keep_alive for each in self._present if each.is_idle]
        seconds = min(ends, default=float("inf")) - self.clock()
        if seconds < float("inf") and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(max(0.0, seconds), 1e6), self.unload_expired)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _found(entry: Entry) -> Found:
    if entry.found is None:
        raise RuntimeError(f"{entry.name} was given as it is")
    return entry.found


def _refuse(entry: Entry, error: APIError) -> None:
    """Tells all who wait for it."""
    waiters, entry.waiters = entry.waiters, []
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)


def _close(model: ServedModel) -> None:
    model.runner.close()
    model.backend.close()


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f} MB"
