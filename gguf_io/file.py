"""A GGUF file, mapped into memory; its header, metadata and tensor list are checked when it is opened.

| magic "GGUF" | version: u32 | n_tensors: u64 | n_keys: u64 | metadata | tensor list | padding | data |
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, Self

from ..errors import GGUFFormatError, GGUFUnsupportedError, ModelError, RequestError
from .content_hash import content_hash
from .cursor import Cursor
from .display import Shown, Table, brief
from .foreign import describe, describe_folder
from .mapped_file import MappedFile
from .metadata import MAX_KEYS, MIN_ENTRY_BYTES, Metadata, read_metadata
from .pieces import piece_hint
from .split import Split, join_tensors, part_paths, read_split, require_apart
from .tensor import MAX_TENSORS, MIN_INFO_BYTES, Tensor, map_tensors, padded, read_tensor_infos

_log = logging.getLogger(__name__)

HEADER_BYTES = 24
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 16

_OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):  # the last on Windows, the others on POSIX
    _OPEN_FLAGS |= getattr(os, _flag, 0)


class GGUFFile(Shown):
    """An open model file, made by `load_gguf`; a context manager. A model in several files is one object,
    with the path and metadata of its first part and the tensors of all.

    After `close`, `metadata` and `tensors` raise ValueError. A tensor that was taken before stays valid: it
    keeps the mapping alive. Replacing the file (`os.replace`) changes nothing here; writing to it does, see
    `check_unchanged`.
    """

    path: str
    version: int
    alignment: int
    trailing_bytes: int
    """Bytes after the last tensor, which are ignored."""

    def __init__(self, path: str, fd: int, status: os.stat_result, data: memoryview) -> None:
        """Owns `fd` from the end on; if this raises, the caller closes it."""
        self.path = path
        cursor = Cursor(data, path)
        self.version = _read_version(cursor)
        n_tensors = _read_count(cursor, "n_tensors", MIN_INFO_BYTES, MAX_TENSORS)
        n_keys = _read_count(cursor, "n_kv", MIN_ENTRY_BYTES, MAX_KEYS)
        metadata = read_metadata(cursor, n_keys)
        self.alignment = _alignment(cursor, metadata)
        infos = read_tensor_infos(cursor, n_tensors, self.alignment)
        data_start = padded(cursor.offset, self.alignment)
        tensors = map_tensors(cursor, infos, data_start)

        data_end = data_start + sum(padded(info.nbytes, self.alignment) for info in infos)
        last_end = data_start + infos[-1].offset + infos[-1].nbytes if infos else cursor.offset
        self.trailing_bytes = max(0, len(data) - data_end)
        self.appended = next((at for at in (last_end, data_end) if data[at : at + 4] == b"GGUF"), None)
        """Where another GGUF file begins after this one; None if there is none."""
        if self.trailing_bytes:
            what = "bytes" if self.appended is None else "bytes, another GGUF file,"
            _log.warning("%s: ignoring %d %s after the last tensor", path, self.trailing_bytes, what)
        self._metadata: Metadata | None = metadata
        self._tensors: Mapping[str, Tensor] | None = Table(tensors, "tensors")
        self._fd = fd
        self._identity = _identity(status)
        self._close_fd = weakref.finalize(self, os.close, fd)
        self._other_parts: tuple[GGUFFile, ...] = ()
        self._whole: GGUFFile | None = None

    def _join(self, others: Sequence[GGUFFile]) -> None:
        """Adds the other parts of a split model; ModelError if they do not belong together."""
        self._tensors = Table(join_tensors([self, *others]), "tensors")
        self._other_parts = tuple(others)

    @property
    def metadata(self) -> Metadata:
        """Key -> value; read-only. Arrays are decoded when first asked for."""
        if self._metadata is None:
            raise ValueError(f"{self.path} is closed")
        return self._metadata

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Name -> tensor, in file order; read-only."""
        if self._tensors is None:
            raise ValueError(f"{self.path} is closed")
        return self._tensors

    @property
    def architecture(self) -> str:
        """`general.architecture`; ModelError if it is missing or no text."""
        architecture = self.metadata.get("general.architecture")
        if architecture is None:
            raise ModelError(f"{self.path}: no general.architecture in the metadata, so it is no model")
        if not isinstance(architecture, str):
            found = self.metadata.type_of("general.architecture")
            raise ModelError(f"{self.path}: general.architecture must be text, found {found}")
        return architecture

    def renamed(self, keys: Mapping[str, str], tensors: Mapping[str, str]) -> GGUFFile:
        """This file with other names for some keys and tensors, old -> new; closing either closes both."""
        view = object.__new__(GGUFFile)
        view.__dict__.update(self.__dict__)
        view._metadata = self.metadata.renamed(keys)
        named = {
            tensors.get(name, name): replace(tensor, name=tensors.get(name, name))
            for name, tensor in self.tensors.items()
        }
        view._tensors = Table(named, "tensors")
        view._whole = self  # its finalizer closes the descriptor
        return view

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two objects whose files are the same, and had not been written to in between."""
        return (self._identity, *(part._identity for part in self._other_parts))

    def is_replaced(self) -> bool:
        """Is another file, or none, where this one was when it was opened?"""
        try:
            found = os.stat(self.path)
        except OSError:
            return True
        own = self._identity[:2] != (found.st_dev, found.st_ino)
        return own or any(part.is_replaced() for part in self._other_parts)

    def path_for_others(self) -> str:
        """A path by which other processes can open this very file, as long as it is open here: on Linux even
        when it was replaced; elsewhere, and of a model in several files, its own."""
        if sys.platform != "linux" or self._other_parts or not self.is_replaced():
            return self.path
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    def check_unchanged(self) -> None:
        """Raises ModelError if the file was written to or truncated since it was opened.

        The mapping shows such changes, and reading beyond the end of a truncated file kills the process
        (SIGBUS). Call this before each piece of work; a change during the work is not noticed.
        """
        if not self._close_fd.alive:
            raise ValueError(f"{self.path} is closed")
        if _identity(os.fstat(self._fd)) != self._identity:
            raise ModelError(f"{self.path}: model file changed while it was open; load it again")
        for part in self._other_parts:
            part.check_unchanged()

    def content_hash(self) -> str:
        """The SHA-256 of the file's content, in hexadecimal digits; of a model in several files, of theirs.
        Reads all of it, the first time. ModelError if the file was written to since it was opened."""
        self.check_unchanged()
        parts = (self, *self._other_parts)
        hashes = [content_hash(part.path, part._fd) for part in parts]
        self.check_unchanged()
        return hashes[0] if len(parts) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    def close(self) -> None:
        """Closes the file. May be called twice."""
        self._metadata = self._tensors = None
        self._close_fd()
        if self._whole is not None:
            self._whole.close()
        for part in self._other_parts:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise RequestError(f"an open GGUF file cannot be pickled or copied; pass its path, {self.path!r}")

    def __repr__(self) -> str:
        return f"<GGUFFile {self.path!r}{', closed' if self._metadata is None else ''}>"

    def _facts(self) -> dict[str, str]:
        if self._metadata is None or self._tensors is None:
            return {"path": repr(self.path), "state": "closed"}
        parts = {"parts": str(1 + len(self._other_parts))} if self._other_parts else {}
        return {
            "path": repr(self.path),
            "architecture": brief(self._metadata.get("general.architecture")),
            **parts,
            "metadata": f"{len(self._metadata)} keys",
            "tensors": f"{len(self._tensors)}, {sum(t.nbytes for t in self._tensors.values()):,} bytes",
        }


def load_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Opens a GGUF file, version 2 or 3. Given one part of a model in several files, it opens all of them.
    `~` in the path is the user's home.

        with nybble.load_gguf(nybble.pull("smollm2")) as file:
            file.metadata["general.architecture"], file.tensors["token_embd.weight"].shape

    Tensors in formats that nybble cannot compute with are listed like all others; their `dequantize`, and
    loading the model, raise GGUFUnsupportedError.

    Raises GGUFFormatError if the file is not well formed, GGUFUnsupportedError for another version or a
    tensor type that GGUF has dropped, ModelError if a part is missing or belongs to another model, and
    OSError as the operating system gives it.
    """
    opened = _load_one(os.path.expanduser(os.fsdecode(path)))
    try:
        split = read_split(opened)
        if split is None:
            return opened
        require_apart(opened, split)
        return _load_parts(opened, split)
    except BaseException:
        opened.close()
        raise


def _load_parts(opened: GGUFFile, split: Split) -> GGUFFile:
    """Opens the other parts of a model, and joins all."""
    parts: list[GGUFFile] = []
    try:
        for number, path in enumerate(part_paths(opened.path, split)):
            parts.append(opened if number == split.number else _load_one(path))
        parts[0]._join(parts[1:])
    except BaseException:
        for part in parts:
            part.close()
        raise
    return parts[0]


def _load_one(name: str) -> GGUFFile:
    fd = _open(name)
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR) + describe_folder(name), name)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(name)
        return GGUFFile(name, fd, status, _map(name, fd, status.st_size))
    except BaseException as error:
        os.close(fd)
        if isinstance(error, GGUFFormatError) and (hint := piece_hint(name)):
            raise GGUFFormatError(f"{error}; {hint}") from error
        raise


def _open(path: str) -> int:
    """Opens without waiting: a FIFO without a writer would block."""
    try:
        return os.open(path, _OPEN_FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            raise _not_regular(path) from error
        raise


def _not_regular(path: str) -> GGUFFormatError:
    return GGUFFormatError(f"{path}: not a regular file, so it cannot hold a model")


def _map(path: str, fd: int, size: int) -> memoryview:
    if size == 0:
        raise GGUFFormatError(f"{path}: header at byte 0: the file is empty; fetch it again")
    try:
        return memoryview(MappedFile(fd, size))
    except ValueError as error:  # mmap's own check: the file is shorter than it was a moment ago
        raise ModelError(f"{path}: model file changed while it was opened; load it again") from error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"{path}: no address space to map its {size} bytes") from error
        raise


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_version(cursor: Cursor) -> int:
    magic = bytes(cursor.data[:4])
    if len(magic) == 4 and magic != b"GGUF":
        found = describe(cursor.data)
        raise cursor.error(0, "magic", f"expected b'GGUF', found {magic!r}" + (found and f": {found}"))
    if len(cursor.data) < HEADER_BYTES:
        size = len(cursor.data)
        raise cursor.error(size, "header", f"truncated header at {size}: it has {HEADER_BYTES} bytes")
    cursor.take(4, "magic")
    version = cursor.u32("version")
    if version in (2, 3):
        return version
    if version == 0:
        raise cursor.error(4, "version", "0 is no version of GGUF")
    if version == 1:
        problem = "GGUFv1 is not supported; convert the model again"
    elif int.from_bytes(version.to_bytes(4, "little"), "big") in (1, 2, 3):
        problem = "a big-endian file is not supported; convert the model for little-endian machines"
    else:
        problem = f"GGUFv{version} is newer than 3, the latest that nybble knows"
    raise GGUFUnsupportedError(f"{cursor.path}: version at byte 4: {problem}")


def _read_count(cursor: Cursor, field: str, min_bytes: int, maximum: int) -> int:
    start = cursor.offset
    count = cursor.count(field, min_bytes)
    if count > maximum:
        raise cursor.error(start, field, f"{count} is more than the {maximum} allowed")
    return count


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    key = "general.alignment"
    if key not in metadata:
        return DEFAULT_ALIGNMENT
    offset = metadata.offset_of(key)
    if metadata.type_of(key) != "u32":
        raise cursor.error(offset, key, f"must be a u32, found {metadata.type_of(key)}")
    alignment: int = metadata[key]
    if alignment.bit_count() != 1 or alignment > MAX_ALIGNMENT:
        raise cursor.error(offset, key, f"must be a power of two up to {MAX_ALIGNMENT}, found {alignment}")
    return alignment
