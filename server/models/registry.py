"""All models of a server, by the names that requests give."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from ...errors import NybbleError, RequestError, did_you_mean
from ..wire.errors import APIError, bad_field
from ..work.runner import Runner
from ..work.served_model import ServedModel
from .catalog import Catalog, Found
from .entry import Entry
from .loader import Loader, Tell

_N_LISTED = 20
USUAL_KEEP_ALIVE = 300.0
"""Seconds that a model of a folder stays without work."""


class Registry:
    """Finds models by name, and has them loaded. All but `load_given` and `close` is for the event loop."""

    def __init__(
        self,
        loader: Loader,
        catalog: Catalog | None = None,
        models: Iterable[ServedModel] = (),
        *,
        keep_alive: float | None = None,
        tell: Tell = lambda message, level=0, **facts: None,
    ) -> None:
        """`models` are loaded and stay; those of the catalog come and go. `keep_alive`: seconds that they
        stay without work; None: those of folders `USUAL_KEEP_ALIVE`, and others for ever."""
        self.loader = loader
        self._catalog, self._keep_alive, self._tell = catalog, keep_alive, tell
        self._entries: dict[str, Entry] = {}
        self._problems: dict[str, str] = {}
        self._told: set[tuple[Path, str]] = set()
        self._scanning: asyncio.Task[None] | None = None
        self._threads = Runner("nybble-folder")
        for model in models:
            entry = Entry(model.name, model=model, state="loaded")
            self._entries[model.name] = entry
            loader.add(entry)
        if catalog is not None:
            self._update(catalog.scan())

    @classmethod
    def of(cls, models: Iterable[ServedModel]) -> Self:
        """Models that are loaded, and no others."""

        def open_model(found: Found) -> ServedModel:
            raise NybbleError(f"{found.name} is not loaded here")

        return cls(Loader(open_model), models=models)

    @property
    def names(self) -> list[str]:
        """Of those that can be served."""
        return [name for name, entry in self._entries.items() if self._fits(entry)]

    @property
    def problems(self) -> Mapping[str, str]:
        """What there is besides and cannot be served: by name, why."""
        return self._problems

    def load_given(self) -> None:
        """Loads those that were given by themselves, before the event loop runs. RequestError if they do not
        fit together; and what is wrong with one of them."""
        budget = self.loader.budget
        given = [entry for entry in self._entries.values() if entry.found and entry.found.is_given]
        needed = sum(entry.cost for entry in given)
        if budget is not None and needed > budget:
            names = ", ".join(entry.name for entry in given)
            raise RequestError(
                f"memory={budget} bytes is not enough for {names}: they need {needed}; allow more, or put"
                " models that are not needed at once into a folder"
            )
        for entry in given:
            self.loader.load_now(entry)

    async def listed(self) -> list[Entry]:
        """Those that can be served, the newest files of the folders among them."""
        await self._scan()
        return [self._entries[name] for name in self.names]

    def loaded(self) -> list[Entry]:
        """Those in memory."""
        return [entry for entry in self._entries.values() if entry.state == "loaded"]

    async def find(self, name: str | None) -> Entry:
        """The model of that name; without one the only model. `APIError` if there is none: a name is a key,
        and never becomes a path."""
        entry = self._known(name)
        if entry is None:
            await self._scan()
            entry = self._known(name)
        if entry is not None:
            return entry
        names = self.names
        if name is None:
            raise APIError(400, f"model is missing; there are {_listed(names)}", param="model")
        reason = self._problems.get(name)
        what = f"there is no model {name!r:.100}" if reason is None else f"{name} cannot be served: {reason}"
        raise APIError(
            404,
            f"{what}; there are {_listed(names)}{did_you_mean(name, names) if reason is None else ''}",
            param="model",
            code="model_not_found",
        )

    async def use(
        self,
        name: str | None,
        at_end: ExitStack,
        keep_alive: float | None = None,
        on_wait: Callable[[], object] = lambda: None,
    ) -> ServedModel:
        """The model of that name, loaded; it stays so until `at_end` is closed, and then for `keep_alive`
        seconds, if they are given. `on_wait` is called before it is waited for.

        Raises what `find` and `Loader.take` raise.
        """
        entry = await self.find(name)
        model = await self.loader.take(entry, on_wait)
        at_end.callback(self.loader.give_back, entry)
        if keep_alive is not None:
            entry.keep_alive = keep_alive
        return model

    async def unload(self, name: str | None) -> Entry:
        """Unloads it now, or after what runs. `APIError` for one that was given as it is, and what `find`
        raises."""
        entry = await self.find(name)
        if entry.found is None:
            raise bad_field("keep_alive", f"0 is not possible: {entry.name} stays as long as the server")
        entry.keep_alive = 0.0
        self.loader.unload(entry, "asked for")
        return entry

    def seconds_left(self, entry: Entry) -> float:
        """How long it stays if it is not used; infinite: as long as the server."""
        if entry.found is None or math.isinf(entry.keep_alive):
            return math.inf
        since = self.loader.clock() if entry.n_users else entry.last_used
        return max(0.0, since + entry.keep_alive - self.loader.clock())

    def fail_all(self, error: BaseException) -> None:
        """Ends all that runs and all that waits."""
        self.loader.fail_all(error)

    def close(self) -> None:
        """Ends all work, and closes the models that were loaded here; twice is fine."""
        self.loader.close()
        self._threads.close()

    def _known(self, name: str | None) -> Entry | None:
        if name is None:
            names = self.names
            return self._entries[names[0]] if len(names) == 1 else None
        return self._entries.get(name) or self._entries.get(name.removesuffix(":latest"))

    def _fits(self, entry: Entry) -> bool:
        budget = self.loader.budget
        return budget is None or entry.state != "not loaded" or entry.cost <= budget

    async def _scan(self) -> None:
        """Looks at the folders. Who comes while that goes on waits for it, and does not look again."""
        if self._catalog is None:
            return
        if self._scanning is None:
            self._scanning = asyncio.get_running_loop().create_task(self._scanned(self._catalog))
        await asyncio.shield(self._scanning)

    async def _scanned(self, catalog: Catalog) -> None:
        try:
            self._update(await self._threads.in_thread(catalog.scan))
        finally:
            self._scanning = None

    def _update(self, found: Sequence[Found]) -> None:
        there = {each.name: each for each in found if each.facts is not None}
        gone = [entry for entry in self._entries.values() if entry.found is not None]
        for entry in gone:
            if entry.name not in there and entry.state == "not loaded" and not entry.waiters:
                del self._entries[entry.name]
        for name, each in there.items():
            entry = self._entries.get(name) or Entry(name)
            entry.found = each
            if name not in self._entries:
                usual = math.inf if each.is_given else USUAL_KEEP_ALIVE
                entry.usual_keep_alive = usual if self._keep_alive is None else self._keep_alive
                self._entries[name] = entry
        self._problems = {}
        for each in found:
            if each.facts is None:
                self._add_problem(each, each.problem)
            elif not self._fits(self._entries[each.name]):
                size = f"{each.facts.n_bytes / 1e6:,.0f} MB"
                self._add_problem(each, f"it needs {size} of memory, more than all models may use")

    def _add_problem(self, found: Found, reason: str) -> None:
        self._problems[found.name] = reason.replace(str(found.path), "the file")
        if (found.path, reason) not in self._told:
            self._told.add((found.path, reason))
            self._tell("not served", logging.WARNING, file=str(found.path), reason=reason)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return (", ".join(names[:_N_LISTED]) or "none") + more
