"""The models that are on this machine under a name or an address, and taking them away again."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ModelError, RequestError, did_you_mean
from ..system.atomic_file import remove
from . import hugging_face, local_names, ollama, web
from .address import HubAddress, part_names
from .models import SOURCES, named

Kind = Literal["name", "alias", "hub", "web", "ollama"]
_N_NAMED = 20


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine. `name` is what `LLM` takes; `paths` are its files, the first one first, of
    which some may be missing; `problem` says why there are none."""

    name: str
    kind: Kind
    paths: tuple[Path, ...]
    problem: str | None = None

    @property
    def n_bytes(self) -> int:
        """Of all files that are there."""
        return sum(path.stat().st_size for path in self.paths if path.exists())


def local_models() -> Iterator[LocalModel]:
    """All models that are here, by kind and name; each name once."""
    files = {source.file_name: name for name, source in SOURCES.items()}
    for name, path in local_names.names():
        if path.name not in files:
            target = path.parent / os.readlink(path) if path.is_symlink() else path
            yield LocalModel(name, "alias" if path.is_symlink() else "name", _all_parts(target))
        elif named(files[path.name]).is_here:
            yield LocalModel(files[path.name], "name", (path,))
    for repo, revision, file, paths in hugging_face.models():
        yield LocalModel(str(HubAddress(repo, revision, file)), "hub", paths)
    for folder in web.folders():
        address = (folder / web.ADDRESS).read_text(encoding="utf-8")
        if paths := tuple(sorted(folder.glob("*.gguf"))):
            yield LocalModel(address, "web", paths)
    for known in ollama.models():
        try:
            yield LocalModel(str(known), "ollama", (ollama.model_path(known),))
        except (ModelError, RequestError) as error:
            yield LocalModel(str(known), "ollama", (), str(error))


def remove_model(name: str) -> int:
    """Removes the files of a model by its name in `local_models`, of an alias the name alone; the aliases of
    what is removed go with it. -> how many bytes are free again.

    RequestError for a name that is not there, and for what is another program's.
    """
    known = {model.name: model for model in local_models()}
    if name not in known:
        listed = ", ".join(list(known)[:_N_NAMED]) or "none"
        raise RequestError(
            f"there is no model {name!r} to remove; here are {listed}{did_you_mean(name, known)}"
        )
    model = known[name]
    if model.kind == "ollama":
        raise RequestError(f"{name} is Ollama's, which removes it: ollama rm {name.partition(':')[2]}")
    if model.kind == "alias":
        local_names.remove(name)
        return 0
    n_bytes = _remove_files(model)
    for alias in known.values():
        if alias.kind == "alias" and alias.paths[0] in model.paths:
            local_names.remove(alias.name)
    return n_bytes


def _remove_files(model: LocalModel) -> int:
    if model.kind == "hub":
        return sum(map(hugging_face.remove_file, model.paths))
    n_bytes = model.n_bytes
    if model.kind == "web":
        remove(model.paths[0].parent)
    else:
        for path in model.paths:
            path.unlink()
    return n_bytes


def _all_parts(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(name) for name in part_names(path.name))
