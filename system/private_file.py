"""Files that no other user can write to: they contain machine code, which this process runs.

They must be the user's or root's, as in a container whose cache was filled when its image was built.
Everybody may read them. A file is MAGIC, the SHA-256 of the rest, a name, a line break, and bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import warnings
from pathlib import Path

from .atomic_file import atomic_file

MAGIC = b"nybble object 1\n"

_ROOT = 0


def is_private(status: os.stat_result) -> bool:
    """Is it the user's or root's, and not writable by others? On Windows only the folder is checked."""
    return sys.platform == "win32" or (
        status.st_uid in (os.getuid(), _ROOT) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def make_private_folder(folder: Path) -> None:
    """Makes the folder unless it exists; OSError if that fails, or if others may write to it.

    On Windows it must be in the user's profile, whose inherited access rights keep others out.
    """
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32" and not folder.resolve().is_relative_to(home.resolve()):
        raise PermissionError(f"{folder} is not in {home}, where Windows lets nobody else write")
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not is_private(folder.stat()):
        raise PermissionError(f"{folder} is owned or writable by others")


def read_private(path: Path) -> tuple[str, bytes] | None:
    """The name and bytes in a file; None if it is absent, damaged, or not private."""
    try:
        with path.open("rb") as file:
            data = file.read() if is_private(os.fstat(file.fileno())) else b""
    except OSError:
        return None
    checksum, body = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != checksum:
        return None
    name, _, content = body.partition(b"\n")
    return name.decode(), content


def write_private(path: Path, name: str, content: bytes) -> None:
    """Writes a file so that other processes see all of it or nothing; warns if that fails."""
    body = name.encode() + b"\n" + content
    try:
        with atomic_file(path, permissions=0o644) as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
    except OSError as error:
        warnings.warn(f"could not keep {path.name} in the cache: {error}", stacklevel=2)
