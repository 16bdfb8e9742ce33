"""Backends whose answers, and engines whose steps, come when a test lets them."""

import threading

from nybble.testing import MockBackend, MockStream


class StuckStream(MockStream):
    """Has as many of its pieces as were let through, and ends when it is cancelled."""

    backend: "StuckBackend"
    on_news = None
    n_taken = 0
    is_cancelled = False

    @property
    def is_done(self):
        return self.is_cancelled or self.backend.n_open >= len(self._pieces)

    def take(self):
        new = self._pieces[self.n_taken : self.backend.n_open]
        self.n_taken += len(new)
        self._n = self.n_taken
        return list(new)

    def cancel(self):
        if not self.is_done:
            self.is_cancelled = True
            self.backend.cancelled.append(self)

    def result(self, timeout=None):
        return self.output()


class StuckBackend(MockBackend):
    """Gives `n_open` pieces of each answer. `begins`: what is asked for begins when this is set."""

    def __init__(self, answer="of the you is on " * 20):
        super().__init__([answer])
        self.n_open = self.n_asked = 0
        self.streams = []
        self.cancelled = []
        self.begins = threading.Event()
        self.begins.set()

    def _stuck(self, stream, on_news):
        self.n_asked += 1
        self.begins.wait(20)
        stream.__class__ = StuckStream
        stream.backend, stream.on_news = self, on_news
        self.streams.append(stream)
        return stream

    def submit(self, prompt, params=None, *, edit=None, on_news=None):
        return self._stuck(self.stream(prompt, params), on_news)

    def chat_submit(self, messages, params=None, *, on_news=None, **options):
        return self._stuck(self.chat_stream(messages, params, **options), on_news)

    def open(self, n):
        """Lets so many pieces of each answer through, as a step does."""
        self.n_open = n
        for on_news in {stream.on_news for stream in list(self.streams)}:
            on_news()


class SlowSteps:
    """Holds the steps of an `LLM` from the one numbered `n_free` on, until `go_on`."""

    def __init__(self, llm, n_free=2):
        self.n_begun = 0
        """How many steps have begun."""
        self.is_held = threading.Event()
        """One of them is waiting."""
        self._may_go_on = threading.Event()
        self._step, self._n_free = llm.scheduler.executor.step, n_free
        llm.scheduler.executor.step = self._held
        self.go_on = self._may_go_on.set

    def _held(self, pieces):
        self.n_begun += 1
        if self.n_begun > self._n_free:
            self.is_held.set()
            assert self._may_go_on.wait(60)
        return self._step(pieces)
