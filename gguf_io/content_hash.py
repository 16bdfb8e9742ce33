"""The SHA-256 of a file's content, which is taken once and kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..system.asker import check_asker
from ..system.cache_folder import cache_folder
from ..system.private_file import make_private_folder, read_private, write_private

_CHUNK = 1 << 20
_known: dict[str, str] = {}


def content_hash(path: str, fd: int) -> str:
    """Of an open file, 64 hexadecimal digits. A file of the same path, inode, size and time of change is not
    read again: the hash is kept in memory, and in the cache folder where that can be written to."""
    status = os.fstat(fd)
    identity = f"{path}\n{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    name = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:40]
    if name not in _known:
        folder = _folder()
        kept = read_private(folder / name) if folder else None
        _known[name] = kept[1].decode() if kept else _hash(fd, status.st_size)
        if folder and not kept and os.access(folder, os.W_OK):
            write_private(folder / name, "sha256", _known[name].encode())
    return _known[name]


def _folder() -> Path | None:
    try:
        folder = cache_folder() / "hashes"
        make_private_folder(folder)
    except OSError:
        return None
    return folder


def _hash(fd: int, size: int) -> str:
    digest = hashlib.sha256()
    for start in range(0, size, _CHUNK):
        check_asker()
        digest.update(_read_at(fd, start))
    return digest.hexdigest()


def _read_at(fd: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, _CHUNK, start)
    os.lseek(fd, start, os.SEEK_SET)  # Windows
    return os.read(fd, _CHUNK)
