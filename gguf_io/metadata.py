"""The key/value section of a file: scalars and strings are read at once, arrays on first access."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cursor import Cursor
from .display import brief, html_table
from .mapped_file import MappedFile
from .string_array import StringArray, read_string_array

MAX_KEYS = 1 << 17
MAX_KEY_BYTES = 65535
MIN_ENTRY_BYTES = 8 + 4 + 1  # length of the key, type, smallest value

STRING, ARRAY = 8, 9
SCALARS: dict[int, tuple[str, struct.Struct, np.dtype[Any]]] = {
    code: (name, struct.Struct("<" + letter), np.dtype(dtype))
    for code, name, letter, dtype in (
        (0, "u8", "B", "u1"),
        (1, "i8", "b", "i1"),
        (2, "u16", "H", "<u2"),
        (3, "i16", "h", "<i2"),
        (4, "u32", "I", "<u4"),
        (5, "i32", "i", "<i4"),
        (6, "f32", "f", "<f4"),
        (7, "bool", "?", "u1"),  # any byte but 0 is true, as in llama.cpp
        (10, "u64", "Q", "<u8"),
        (11, "i64", "q", "<i8"),
        (12, "f64", "d", "<f8"),
    )
}
"""By the code of a type in the file: its name, how one value is unpacked, and the dtype of an array."""


@dataclass(frozen=True, slots=True, eq=False)
class NumericArray:
    """An array of numbers or booleans that is not decoded yet."""

    data: memoryview
    dtype: np.dtype[Any]
    is_bool: bool

    def __len__(self) -> int:
        return len(self.data) // self.dtype.itemsize

    def decode(self) -> NDArray[Any]:
        """A read-only copy: aligned, which the file's bytes need not be, and independent of the mapping."""
        values = np.frombuffer(self.data, self.dtype)
        values = values != 0 if self.is_bool else values.copy()
        values.flags.writeable = False
        return values


class RawValue(NamedTuple):
    """The bytes of a value as they lie in a file: u32 type, then the value."""

    data: bytes


@dataclass(slots=True, eq=False)
class Entry:
    """The value of one key, its type in the file, and the byte offsets where it starts and ends."""

    value: Any
    type_name: str
    offset: int
    end: int
    decoded: Any = None  # of an array, once it was asked for


class Metadata(Mapping[str, Any]):
    """Read-only mapping of key to Python value, in file order.

    Numbers are int, float or bool; strings are str, or bytes where they are not UTF-8; arrays of numbers are
    read-only NumPy arrays; arrays of strings are lists. An array is decoded on first access and kept: treat
    the list as read-only too.
    """

    def __init__(self, entries: dict[str, Entry], data: memoryview) -> None:
        """`data` is the whole file."""
        self._entries = entries
        self._data = data

    def __getitem__(self, key: str) -> Any:
        entry = self._entries[key]
        if not isinstance(entry.value, NumericArray | StringArray):
            return entry.value
        decoded = entry.decoded  # in a variable: another thread may call `release`
        if decoded is None:
            decoded = entry.decoded = entry.value.decode()
        return decoded

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries  # Mapping's own would decode the array

    def type_of(self, key: str) -> str:
        """The type in the file: "u8" … "i64", "f32", "f64", "bool", "string", or "u32[]", "string[]" …"""
        return self._entries[key].type_name

    def length_of(self, key: str) -> int | None:
        """The number of elements of an array, without decoding it; None for a value that is not an array."""
        entry = self._entries[key]
        return len(entry.value) if entry.type_name.endswith("[]") else None

    def offset_of(self, key: str) -> int:
        """The byte offset of the value's type field in the file."""
        return self._entries[key].offset

    def raw(self, key: str) -> RawValue:
        """The value as it lies in the file, for copying to another."""
        entry = self._entries[key]
        return RawValue(bytes(self._data[entry.offset : entry.end]))

    def renamed(self, names: Mapping[str, str]) -> Metadata:
        """This metadata with other names for some keys; `names`: old -> new."""
        return Metadata({names.get(key, key): entry for key, entry in self._entries.items()}, self._data)

    def release(self) -> None:
        """Frees decoded arrays and the file's pages; the next access decodes an array again."""
        for entry in self._entries.values():
            entry.decoded = None
        if isinstance(self._data.obj, MappedFile):
            self._data.obj.release_pages(0, max((entry.end for entry in self._entries.values()), default=0))

    def __repr__(self) -> str:
        return f"<Metadata of {len(self)} keys>"

    def _repr_html_(self) -> str:
        """A table of keys, types and values; arrays are not decoded for it."""
        lengths = {key: self.length_of(key) for key in self}
        rows = (
            (key, self.type_of(key), brief(self[key]) if n is None else f"{n} elements")
            for key, n in lengths.items()
        )
        return html_table(f"{len(self)} keys", rows)


def read_metadata(cursor: Cursor, n_keys: int) -> Metadata:
    """Reads `n_keys` entries:

    | key: string | value type: u32 | value |
    """
    entries: dict[str, Entry] = {}
    for _ in range(n_keys):
        start = cursor.offset
        key = cursor.name("metadata key", MAX_KEY_BYTES)
        if key in entries:
            raise cursor.error(start, "metadata key", f"{key!r} occurs twice")
        entries[key] = _read_value(cursor, f"metadata {key!r}")
    return Metadata(entries, cursor.data)


def _read_value(cursor: Cursor, field: str) -> Entry:
    start = cursor.offset
    code = cursor.u32(field)
    scalar = SCALARS.get(code)
    if scalar is not None:
        name, layout, _ = scalar
        value = layout.unpack_from(cursor.data, cursor.take(layout.size, field))[0]
        return Entry(value, name, start, cursor.offset)
    if code == STRING:
        text = text_or_bytes(cursor.string(field))
        return Entry(text, "string", start, cursor.offset)
    if code == ARRAY:
        return _read_array(cursor, field, start)
    raise cursor.error(start, field, f"value type {code} is not one of GGUF's (0 to 12)")


def _read_array(cursor: Cursor, field: str, start: int) -> Entry:
    """Element type: u32, number of elements: u64, elements. There are no arrays of arrays."""
    code = cursor.u32(field)
    if code == STRING:
        n_strings = cursor.count(field, 8)
        strings = read_string_array(cursor, n_strings, field)
        return Entry(strings, "string[]", start, cursor.offset)
    scalar = SCALARS.get(code)
    if scalar is None:
        problem = "arrays of arrays are not allowed" if code == ARRAY else f"element type {code} is unknown"
        raise cursor.error(start, field, problem)
    name, _, dtype = scalar
    n_bytes = cursor.count(field, dtype.itemsize) * dtype.itemsize
    begin = cursor.take(n_bytes, field)
    values = NumericArray(cursor.data[begin : begin + n_bytes], dtype, is_bool=name == "bool")
    return Entry(values, f"{name}[]", start, cursor.offset)


def text_or_bytes(raw: bytes) -> str | bytes:
    """The text if `raw` is UTF-8, else `raw` itself."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
