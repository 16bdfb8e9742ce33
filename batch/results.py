"""The file of results: a line for each request, in the order of the requests.

It is OUT.partial until all is done, so that OUT is complete when it is there. Each line begins with an id, a
hash of the request and of what answers it. A run that was interrupted goes on after the last whole line, if
all ids before are those that it would give.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import RequestError
from ..server.wire.json_body import dumped
from ..system.atomic_file import PARTIAL
from ..system.file_lock import file_lock
from .lines import lines

_MAX_ID_BYTES = 100


class Results:
    """Writes to OUT.partial; a context manager, which `finish` ends well."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """RequestError if `path` is there already."""
        self._path = Path(path)
        self.partial = self._path.with_name(self._path.name + PARTIAL)
        if self._path.exists():
            raise RequestError(f"{self._path} is there already, with all results; remove it to run anew")
        self.n_kept = 0
        """How many results are there from an earlier run."""

    def __enter__(self) -> Self:
        self.partial.touch()
        self._lock = _only_one(self.partial)
        self._lock.__enter__()
        self._file = open(self.partial, "r+b", buffering=0)
        return self

    def kept_ids(self) -> Iterator[str]:
        """The ids of the whole lines of an earlier run, in order; then what is left of a broken one is cut
        off."""
        end = 0
        with open(self.partial, "rb") as file:
            for line in lines(file, _MAX_ID_BYTES):
                if not line.is_ended:
                    break
                end += line.n_bytes
                self.n_kept += 1
                yield line.content.partition(b'"id":"')[2].partition(b'"')[0].decode(errors="replace")
        self._file.truncate(end)
        self._file.seek(end)

    def write(self, result: object) -> None:
        """Appends a line, all at once."""
        self.write_json(dumped(result))

    def write_json(self, result: bytes) -> None:
        """The same for what is JSON already."""
        data = memoryview(result + b"\n")
        while data:
            data = data[self._file.write(data) :]

    def finish(self) -> None:
        """Gives the file its name."""
        os.fsync(self._file.fileno())
        os.replace(self.partial, self._path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._lock.__exit__(kind, error, traceback)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """RequestError if another process writes to `path`."""
    is_taken = []
    with file_lock(path, lambda: is_taken.append(True), patience=0.2) as is_locked:
        if is_taken and not is_locked:
            raise RequestError(f"another process writes to {path}; let it finish, or give another OUT")
        yield
