"""Models that can be served and are none: they are opened and closed when a test lets them, by a clock that
the test sets."""

import asyncio
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from nybble.engine.facts import Facts
from nybble.server.models.catalog import Found
from nybble.server.models.entry import Entry
from nybble.server.models.loader import Loader
from nybble.server.models.registry import Registry
from nybble.server.work.served_model import ServedModel
from nybble.testing import MockBackend


class House:
    """Its models have sizes, are opened by `open_model` and told of by `tell`."""

    def __init__(self, **sizes):
        self.sizes = sizes
        self.now = 1000.0
        self.opened, self.closed, self.told, self.failures = [], [], [], []
        self.problems = {}
        """Name -> why a file is no model."""
        self.errors = {}
        """Name -> what opening it raises."""
        self.may_open = {name: threading.Event() for name in sizes}
        for gate in self.may_open.values():
            gate.set()

    def facts(self, path):
        """As `facts_of`."""
        info = replace(MockBackend().info, name=path.stem, path=str(path))
        return Facts(info, self.sizes[path.stem])

    def found(self, name, is_given=False):
        path = Path(f"/models/{name}.gguf")
        return Found(name, path, self.facts(path), is_given=is_given, created=7)

    def open_model(self, found):
        self.opened.append(found.name)
        assert self.may_open[found.name].wait(20)
        if found.name in self.errors:
            raise self.errors[found.name]
        backend = MockBackend([f"I am {found.name}"])
        close = backend.close

        def closing():
            self.closed.append(found.name)
            close()

        backend.close = closing
        return ServedModel(found.name, backend, f"bits of {found.name}", created=found.created)

    def clock(self):
        """The time, which is never the same twice."""
        self.now += 1e-6
        return self.now

    def tell(self, message, level=20, **facts):
        self.told.append((message, facts))

    def loader(self, budget=None):
        return Loader(
            self.open_model,
            budget,
            tell=self.tell,
            on_failure=lambda error, name: self.failures.append(error),
            clock=self.clock,
        )

    def registry(self, budget=None, given=(), keep_alive=None):
        """All its models, of a folder but for those `given` by themselves."""
        self.catalog = HouseCatalog(self, given)
        return Registry(self.loader(budget), self.catalog, keep_alive=keep_alive, tell=self.tell)

    def add(self, name, size):
        """Another model."""
        self.sizes[name] = size
        self.may_open[name] = threading.Event()
        self.may_open[name].set()

    def entries(self, keep_alive=300.0):
        return {name: Entry(name, self.found(name), usual_keep_alive=keep_alive) for name in self.sizes}


class HouseCatalog:
    """All models of a house."""

    def __init__(self, house, given):
        self.house, self.given = house, given
        self.n_scans = 0

    def scan(self):
        self.n_scans += 1
        problems = [
            Found(name, Path(f"/models/{name}.gguf"), problem=problem)
            for name, problem in self.house.problems.items()
        ]
        return [self.house.found(name, name in self.given) for name in list(self.house.sizes)] + problems


class Guest:
    """A request for a model, which it holds until `leave`."""

    def __init__(self, loader, entry):
        self.waited = 0
        self._loader, self._entry, self._at_end = loader, entry, ExitStack()
        self.task = asyncio.ensure_future(self._take())

    async def _take(self):
        def on_wait():
            self.waited += 1

        model = await self._loader.take(self._entry, on_wait)
        self._at_end.callback(self._loader.give_back, self._entry)
        return model

    def leave(self):
        """Ends, wherever it is."""
        self.task.cancel()
        self._at_end.close()


async def until(condition, seconds=20):
    """Returns when the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not come"
        await asyncio.sleep(0.001)


async def settled():
    """Lets the event loop do all that it can do without waiting for a thread."""
    for _ in range(20):
        await asyncio.sleep(0)
