"""Files in a folder that nobody else can write to: machine code is made of them, so they must be ours.

A file is MAGIC, the SHA-256 of the rest, a name, a line break, and bytes.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

from ..gguf_io.atomic_file import atomic_file

MAGIC = b"nybble object 1\n"


def _is_private(status: os.stat_result) -> bool:
    """Ours, and nobody else may write to it."""
    return os.name != "posix" or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def make_private_folder(folder: Path) -> None:
    """Make the folder unless it is there; OSError if it cannot be used, or is not ours alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(folder.stat()):
        raise PermissionError(f"{folder} is owned or writable by others")


def read_private(path: Path) -> tuple[str, bytes] | None:
    """The name and bytes in a file; None if it is absent, damaged, or not private."""
    try:
        with path.open("rb") as file:
            data = file.read() if _is_private(os.fstat(file.fileno())) else b""
    except OSError:
        return None
    checksum, body = data[len(MAGIC) : len(MAGIC) + 32], data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != checksum:
        return None
    name, _, content = body.partition(b"\n")
    return name.decode(), content


def write_private(path: Path, name: str, content: bytes) -> None:
    """Write a file so that other processes see all of it or nothing; a warning if that fails."""
    body = name.encode() + b"\n" + content
    try:
        with atomic_file(path, permissions=0o600) as file:
            file.write(MAGIC + hashlib.sha256(body).digest() + body)
    except OSError as error:
        warnings.warn(f"could not keep {path.name} in the cache: {error}", stacklevel=2)
