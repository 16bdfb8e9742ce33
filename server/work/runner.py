"""Brings a model's work and the event loop together: what takes time runs in threads, and what has come of a
step is handed to all who wait for it at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from ...engine.backend import Stream
from ...system.asker import Asker

T = TypeVar("T")

_N_THREADS = 4
Streams = Sequence[Stream[Any, Any]]
Start = Callable[[Callable[[], object]], Streams]
News = tuple[int, Sequence[Any], bool]
"""Which text it is of, its pieces, and whether these are the last."""


class Running:
    """Texts that are generated for a request. Iterating over it gives what comes, step by step."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.choices = [choice for stream in streams for choice in stream.choices]
        self._left = set(range(len(self.choices)))
        self._news: dict[int, tuple[list[Any], bool]] = {}
        self._has_news = asyncio.Event()
        self._error: BaseException | None = None
        self.collect()

    def collect(self) -> None:
        """Takes what has come; in the event loop."""
        for i in sorted(self._left):
            choice = self.choices[i]
            is_done = choice.is_done  # before the pieces: more may come in between
            try:
                pieces = choice.take()
            except Exception as error:
                self._error, pieces, is_done = error, (), True
            if is_done:
                self._left.discard(i)
            if pieces or is_done:
                before, _ = self._news.get(i, ([], False))  # it may be that nobody has read them yet
                self._news[i] = [*before, *pieces], is_done
        if self._news:
            self._has_news.set()

    def stop(self, i: int) -> None:
        """Ends text i here."""
        self.choices[i].cancel()
        self._left.discard(i)

    def fail(self, error: BaseException) -> None:
        """Ends it."""
        self._error = error
        self._left.clear()
        self._has_news.set()

    async def __aiter__(self) -> AsyncIterator[list[News]]:
        """What has come, at most one entry for each text, until all are done. Raises what has ended one of
        them early."""
        while self._left or self._news:
            await self._has_news.wait()
            self._has_news.clear()
            news, self._news = self._news, {}
            if news:
                yield [(i, pieces, is_done) for i, (pieces, is_done) in news.items()]
            if self._error is not None:
                raise self._error
        for stream in self.streams:
            stream.result(0)


class Runner:
    """Starts work for one backend, and ends it when nobody wants it any more."""

    def __init__(self, name: str = "nybble-serve") -> None:
        self._threads = ThreadPoolExecutor(_N_THREADS, thread_name_prefix=name)
        self._running: set[Running] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """The result of `work(*arguments)`, which takes time."""
        return await asyncio.wrap_future(self._threads.submit(work, *arguments))

    async def while_wanted(self, work: Callable[[], T], beside: Streams = ()) -> T:
        """The result of `work()`, which takes time. When this is cancelled, as its client has left, the work
        ends within a step, and is waited for: what it uses is in use until then. The streams that run
        `beside` it end first."""
        asker = Asker()
        future = self._threads.submit(asker.run, work)
        working = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            cancel_all(beside)
            asker.leave()
            future.cancel()  # it may have no thread yet
            await asyncio.wait({working})
            if not working.cancelled():
                working.exception()
            raise

    @contextlib.asynccontextmanager
    async def running(self, start: Start) -> AsyncIterator[Running]:
        """`start(on_news)`, which takes time, begins streams in the background; they end with the context."""
        self._loop = asyncio.get_running_loop()
        asker = Asker()
        future = self._threads.submit(asker.run, start, self._on_news)
        try:
            streams = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            asker.leave()
            future.add_done_callback(_end)  # it may have been too late to stop it
            raise
        running = Running(streams)
        self._running.add(running)
        try:
            yield running
        finally:
            self._running.discard(running)
            cancel_all(streams)

    def fail_all(self, error: BaseException) -> None:
        """Ends everything that runs."""
        for running in self._running:
            running.fail(error)

    def close(self) -> None:
        """Lets the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _on_news(self) -> None:
        """Called after a step by the thread that runs it."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it all who have asked
                self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        for running in self._running:
            running.collect()


def cancel_all(streams: Streams) -> None:
    """Ends all of them."""
    for stream in streams:
        stream.cancel()


def _end(future: Future[Streams]) -> None:
    if not future.cancelled() and future.exception() is None:
        cancel_all(future.result())
