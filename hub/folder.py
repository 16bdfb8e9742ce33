"""The models in a folder of the user's: files, links to files, and the same in the folders in it."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError
from ..system.atomic_file import PARTIAL
from .address import part_names

_END = ".gguf"
_UNFINISHED = (PARTIAL, ".part", ".incomplete", ".crdownload", ".download", ".aria2", ".tmp")
_DEPTH = 4
_MAX_FILES = 20_000
_PART_END = len("-00001-of-00001.gguf")
_MAGIC = b"GGUF"


@dataclass(frozen=True)
class FolderModel:
    """A file that is a model, or looks like one.

    `name`: that of the file, without .gguf and the number of a part; `place`: the folder in the folder, with
    "/", "" for none. `identity` changes when one of its files does. `problem` says why it cannot be opened.
    """

    name: str
    place: str
    path: Path
    identity: tuple[object, ...] = ()
    problem: str | None = None

    @property
    def long_name(self) -> str:
        """The name with its place, which no other model of the folder has."""
        return f"{self.place}/{self.name}" if self.place else self.name


def folder_models(folder: Path) -> list[FolderModel]:
    """All of them, those nearest the top first, then by name. A file without .gguf is one if it begins as
    such a file does; one that links lead to goes by their names. Nothing but such beginnings is read.

    OSErrors of the folder itself are passed on; RequestError if it has more than 20,000 files.
    """
    found: list[FolderModel] = []
    files: dict[tuple[str, str], dict[str, os.stat_result]] = {}
    linked: set[tuple[int, int]] = set()
    for entry in _entries(folder, _DEPTH, {_key(os.stat(folder))}):
        place = Path(entry.path).parent.relative_to(folder).as_posix().removeprefix(".")
        if isinstance(entry, _Unreadable):
            found.append(FolderModel(entry.name, place, Path(entry.path), problem=entry.problem))
            continue
        name = entry.name
        lower = name.lower()
        try:
            status = entry.stat()
        except OSError as error:
            problem = f"the link leads nowhere ({error.strerror})"
            found.append(FolderModel(_name(name, 1), place, Path(entry.path), problem=problem))
            continue
        if _END in lower and lower.endswith(_UNFINISHED):
            problem = "the file is not complete: its name ends in " + lower.rpartition(".")[2]
            found.append(FolderModel(name, place, Path(entry.path), _of(status), problem))
        elif lower.endswith(_END) or _is_gguf(entry.path, status):
            files.setdefault((place, part_names(name)[0]), {})[name] = status
            if entry.is_symlink():
                linked.add(_key(status))
    for (place, first), parts in files.items():
        (name, status), *others = sorted(parts.items())
        is_blob = not others and not name.lower().endswith(_END)
        if is_blob and _key(status) in linked and not (folder / place / name).is_symlink():
            continue
        names = part_names(first)
        missing = [each for each in names if each not in parts] if len(names) > 1 else []
        wrong = None
        if missing:
            wrong = f"{missing[0]} is missing" + (f", and {len(missing) - 1} more" if missing[1:] else "")
        found.append(
            FolderModel(
                _name(first, len(names)),
                place,
                _target(folder / place / first),
                tuple(_of(each) for _, each in sorted(parts.items())),
                wrong,
            )
        )
    return sorted(found, key=lambda model: (model.place.count("/") + bool(model.place), model.long_name))


@dataclass(frozen=True)
class _Unreadable:
    """A folder in the folder."""

    name: str
    path: str
    problem: str


def _entries(
    folder: Path, depth: int, seen: set[tuple[int, int]]
) -> Iterator["os.DirEntry[str] | _Unreadable"]:
    """Everything in it that is no folder; hidden files and folders are left out. `seen`: no folder twice,
    for links may lead back."""
    with os.scandir(folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    if len(entries) > _MAX_FILES:
        raise RequestError(f"{folder} has more than {_MAX_FILES} files: this is no folder of models")
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not _is_folder(entry):
            yield entry
            continue
        try:
            key = _key(entry.stat())
            if depth and key not in seen:
                seen.add(key)
                yield from _entries(Path(entry.path), depth - 1, seen)
        except OSError as error:
            yield _Unreadable(entry.name, entry.path, f"the folder cannot be read ({error.strerror})")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _is_gguf(path: str, status: os.stat_result) -> bool:
    if not stat.S_ISREG(status.st_mode) or status.st_size < len(_MAGIC):
        return False
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _name(first: str, n_parts: int) -> str:
    if n_parts > 1:
        return first[:-_PART_END]
    return first[: -len(_END)] if first.lower().endswith(_END) else first


def _target(path: Path) -> Path:
    """What a link leads to, if that is a model in several files, which are found by its name there."""
    if path.is_symlink() and len(part_names(path.name)) == 1:
        target = path.parent / os.readlink(path)
        if len(part_names(target.name)) > 1:
            return target
    return path


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _of(status: os.stat_result) -> tuple[int, ...]:
    return (*_key(status), status.st_size, status.st_mtime_ns)
