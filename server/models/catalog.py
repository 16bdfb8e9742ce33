"""Which models there are to serve: those that were given by themselves, and those of folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.facts import Facts
from ...errors import NybbleError
from ...hub.folder import FolderModel, folder_models

_NAME_MAX = 200  # characters


@dataclass(frozen=True)
class Found:
    """A model under its name; without facts one that cannot be served, and `problem` says why."""

    name: str
    path: Path
    facts: Facts | None = None
    problem: str = ""
    is_given: bool = False
    """By itself, and not by its folder."""
    created: int = 0
    """When its file was written, in seconds since 1970."""


class Catalog:
    """Finds them. A file is examined when it is new or has changed, and otherwise only looked at."""

    def __init__(
        self,
        examine: Callable[[Path], Facts],
        given: Mapping[str, Path] | None = None,
        folders: Sequence[Path] = (),
    ) -> None:
        """`given`: models by name. Raises what `examine` raises for one of them."""
        self._examine, self._folders = examine, folders
        self.given = [
            Found(name, path, examine(path), is_given=True, created=int(path.stat().st_mtime))
            for name, path in (given or {}).items()
        ]
        self._examined: dict[tuple[Path, tuple[object, ...]], Facts | str] = {}
        self._names: dict[Path, str] = {}

    def scan(self) -> list[Found]:
        """All of them; it looks at each file of the folders, so it takes some time."""
        models: list[FolderModel] = []
        problems: list[Found] = []
        for folder in self._folders:
            try:
                models += folder_models(folder)
            except (NybbleError, OSError) as error:
                problems.append(Found(folder.name, folder, problem=f"the folder cannot be read: {error}"))
        own = {(found.name, os.path.realpath(found.path)) for found in self.given}
        models = [model for model in models if (model.name, os.path.realpath(model.path)) not in own]
        self._examined = {
            (model.path, model.identity): self._examined.get((model.path, model.identity))
            or self._facts_of(model)
            for model in models
        }
        found = []
        for model, name in self._named(models):
            facts = self._examined[model.path, model.identity]
            if isinstance(facts, str) or name is None:
                problem = facts if isinstance(facts, str) else _no_name(model)
                problems.append(Found(model.long_name, model.path, problem=problem))
            else:
                found.append(Found(name, model.path, facts, created=_written(model.path)))
        return [*self.given, *found, *problems]

    def _facts_of(self, model: FolderModel) -> Facts | str:
        if model.problem is not None:
            return model.problem
        try:
            return self._examine(model.path)
        except (NybbleError, OSError, MemoryError) as error:
            return str(error) or type(error).__name__

    def _named(self, models: Sequence[FolderModel]) -> list[tuple[FolderModel, str | None]]:
        """A name for each, None for one whose names are taken. It keeps the one that it has had."""
        usable = [model for model in models if isinstance(self._examined[model.path, model.identity], Facts)]
        self._names = {model.path: self._names[model.path] for model in usable if model.path in self._names}
        taken = {*(found.name for found in self.given), *self._names.values()}
        for model in usable:
            if model.path in self._names:
                continue
            for name in (model.name, model.long_name):
                if name not in taken and name.isprintable() and len(name) <= _NAME_MAX:
                    self._names[model.path] = name
                    taken.add(name)
                    break
        return [(model, self._names.get(model.path)) for model in models]


def _no_name(model: FolderModel) -> str:
    name = model.long_name
    if not name.isprintable() or len(name) > _NAME_MAX:
        return f"its name must have at most {_NAME_MAX} printable characters; rename the file"
    return f"another model is called {name}; rename one of them"


def _written(path: Path) -> int:
    try:
        return int(os.stat(path).st_mtime)
    except OSError:
        return 0  # it has been removed just now
