"""Shards: named arrays on disk that appear only when they are complete, with checksums.

"npz" is one file for a shard. "npy" is a folder with a file for each array, which `np.load(…, mmap_mode="r")`
opens without reading it, and their CRC-32 in `checksums.json`.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from ..system.atomic_file import atomic_file, atomic_path, remove

Form = Literal["npz", "npy"]

_CHECKSUMS = "checksums.json"
_BLOCK = 1 << 20
# What the readers raise for damaged files.
_DAMAGE = (
    *(OSError, EOFError, LookupError, ValueError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def shard_path(folder: Path, number: int, form: Form) -> Path:
    """The path of a shard, a file or a folder."""
    return folder / (f"{number:05}.npz" if form == "npz" else f"{number:05}")


def write_shard(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes a shard, and replaces a damaged one; after an OSError there is none."""
    if path.suffix == ".npz":
        with atomic_file(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return
    with atomic_path(path) as folder:
        folder.mkdir()
        for name, array in arrays.items():
            with atomic_file(folder / f"{name}.npy") as file:
                _write_array(file, array)
        checksums = {name: _crc(folder / f"{name}.npy") for name in arrays}
        write_json(folder / _CHECKSUMS, checksums)
        remove(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object; the file appears when it is complete."""
    with atomic_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _write_array(file: BinaryIO, array: NDArray[Any]) -> None:
    """Writes as `np.save`, whose error for a full disk does not say so ("1000 requested and 372 written")."""
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.data)


def ids_of_whole(path: Path) -> NDArray[np.int32] | None:
    """The array "ids" of a shard, or None if the shard is missing or any of its arrays is damaged."""
    if not path.exists():
        return None
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return None
            with np.load(path) as arrays:
                return np.asarray(arrays["ids"], np.int32)
        checksums = json.loads((path / _CHECKSUMS).read_text(encoding="utf-8"))
        if any(_crc(path / f"{name}.npy") != crc for name, crc in checksums.items()):
            return None
        return np.asarray(np.load(path / "ids.npy"), np.int32)
    except PermissionError:
        raise  # it may be sound
    except _DAMAGE:
        return None


def dtypes_of(path: Path) -> dict[str, str]:
    """The dtypes of the activations in a complete shard, by name; their values are not read."""
    if path.suffix != ".npz":
        found = {file.stem: np.load(file, mmap_mode="r").dtype for file in path.glob("*.npy")}
    else:
        with zipfile.ZipFile(path) as archive:
            found = {name.removesuffix(".npy"): _dtype_of(archive, name) for name in archive.namelist()}
    return {name: str(dtype) for name, dtype in found.items() if name not in ("ids", "text")}


def _dtype_of(archive: zipfile.ZipFile, member: str) -> np.dtype[Any]:
    with archive.open(member) as file:
        np.lib.format.read_magic(file)
        return np.lib.format.read_array_header_1_0(file)[2]


def read_texts(path: Path) -> list[tuple[int, NDArray[np.int32]]]:
    """The texts in a complete shard: the number and the ids (n,) of each."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            ids, numbers = arrays["ids"], arrays["text"]
    else:
        ids, numbers = (np.load(path / f"{name}.npy") for name in ("ids", "text"))
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    return list(zip(numbers[starts].tolist(), np.split(ids, starts[1:]), strict=True))


def _crc(path: Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
