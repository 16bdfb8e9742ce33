"""Files and folders that appear only when they are complete.

They are written under another name, `NAME.<random>.partial`, and renamed at the end. An error, a full disk or
Ctrl-C removes the partial file; only a killed process leaves it.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"
"""The end of names of incomplete files."""

FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
"""The error numbers of a full disk, a quota, and the process's limit of file size."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path for a new file or folder, which is renamed to `path` at the end; after an error it is removed.

    Replaces a file of that name; of a symbolic link, its target. OSErrors of a full disk name `path`.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f"{target.name}.{secrets.token_hex(8)}{PARTIAL}")
    try:
        yield partial
        os.replace(partial, target)
    except BaseException as error:
        with suppress(OSError):  # it may never have been made
            remove(partial)
        if isinstance(error, OSError) and (
            os.fspath(partial) in str(error.filename) or (error.filename is None and error.errno in FULL)
        ):
            error.filename = os.fspath(path)
        raise


@contextmanager
def atomic_file(path: str | os.PathLike[str], permissions: int = 0o666) -> Iterator[BinaryIO]:
    """A new file to write to, which is synced to the disk and renamed to `path` at the end.

    After an error it is removed. `permissions` are limited by the process's umask. FileExistsError if `path`
    is no regular file, such as /dev/null, which root could replace.
    """
    path = os.path.expanduser(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(errno.EEXIST, "Not a regular file, so it is not replaced", os.fspath(path))
    with (
        atomic_path(path) as partial,
        open(partial, "xb", opener=lambda name, flags: os.open(name, flags, permissions)) as file,
    ):
        yield file
        file.flush()
        os.fsync(file.fileno())  # some file systems report only now that they are full


def remove(path: Path) -> None:
    """Removes a file, or a folder and all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
