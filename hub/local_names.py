"""Names that the user has given to models: files, or links to files, in the folder `models` of the cache.

A name stands for `models/NAME` or `models/NAME.gguf`. A file that is put or linked there can be run
by its name, too.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import RequestError
from ..system.atomic_file import PARTIAL
from ..system.cache_folder import cache_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_END = ".gguf"


def folder() -> Path:
    """The folder; it may not exist."""
    return cache_folder() / "models"


def find(name: str) -> Path | None:
    """The path of the model called `name`, the target of a link in its place; None if there is none.

    Of a link whose target is gone, the target's path.
    """
    if not _is_name(name):
        return None
    for path in _places(name):
        if path.is_symlink():
            return path.parent / os.readlink(path)
        if path.is_file():
            return path
    return None


def add(name: str, target: Path) -> None:
    """Gives `target` a name; replaces a link of this name. RequestError for what is no name, and if a file
    has it."""
    path = require_name(name)
    if path.exists() and not path.is_symlink():
        raise RequestError(f"alias={name!r} must be a new name, and {path} is a file; `nybble rm` removes it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target.absolute())


def remove(name: str) -> None:
    """Takes a name away that is a link; what it leads to stays."""
    for path in _places(name):
        if path.is_symlink():
            path.unlink()
            return


def require_name(name: str) -> Path:
    """The path of the link that would be called `name`; RequestError for what is no name."""
    if not isinstance(name, str) or not _is_name(name):
        raise RequestError(
            "alias must be a name of letters, digits, dots, dashes and underscores, that begins with a letter"
            f" or digit and does not end in .gguf or .partial, found {name!r:.100}"
        )
    return folder() / name


def names() -> Iterator[tuple[str, Path]]:
    """Each name and its path in the folder."""
    for name in sorted({path.name.removesuffix(_END) for path in folder().glob("*")}):
        found = [path for path in _places(name) if path.is_symlink() or path.is_file()]
        if _is_name(name) and found:
            yield name, found[0]


def _places(name: str) -> tuple[Path, Path]:
    return folder() / name, folder() / (name + _END)


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not name.endswith((_END, PARTIAL))
