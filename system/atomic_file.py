"""Files and folders that appear when they are complete, and of which nothing is left if they never are.

What is written gets a name beside its own, `NAME.<random>.partial`, and its own at the end, in one step. An
error, a full disk or Ctrl-C removes it; only a process that is killed outright leaves the partial file.
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
"""The end of the names of what is not complete."""

FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
"""The errors of a disk that is full, a quota, or a limit of the process."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to make a file or folder at, which becomes `path` at the end; after an error it is removed.

    A file of that name is replaced, at what a symbolic link points to. OSErrors of a full disk name `path`.
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
    """A new file to write to, which is on the disk and gets its name `path` at the end; see `atomic_path`.

    `permissions` are limited by the process's umask. FileExistsError if there is something at `path` that is
    no regular file, such as /dev/null, which root could replace.
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
        os.fsync(file.fileno())  # some file systems find out only now that they are full


def remove(path: Path) -> None:
    """Removes a file, or a folder and all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
