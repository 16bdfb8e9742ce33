"""A cursor over the bytes of a GGUF file, which checks that every byte to be read is there."""

import struct

from ..errors import GGUFFormatError

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

MAX_STRING_BYTES = 16 << 20
MAX_HEADER_BYTES = 100 << 20
MAX_STRINGS = 1 << 21

INCOMPLETE = "the file is incomplete or corrupt, fetch it again"


class Cursor:
    """Reads little-endian values in file order. Offsets are Python integers, so none can overflow.

    `data` is the whole file; `offset` is where the next value starts. Every read goes through `take`, which
    raises GGUFFormatError at the end of the file, or after the 100 MiB that a header may have.
    """

    __slots__ = ("_limit", "data", "offset", "path", "strings_left")

    def __init__(self, data: memoryview, path: str) -> None:
        self.data = data
        self.path = path
        self.offset = 0
        self.strings_left = MAX_STRINGS  # in arrays; each takes time, and real files have less than a million
        self._limit = min(len(data), MAX_HEADER_BYTES)

    @property
    def left(self) -> int:
        """Bytes that may still be read."""
        return self._limit - self.offset

    def take(self, n_bytes: int, field: str) -> int:
        """Steps over `n_bytes` and returns the offset where they start."""
        start = self.offset
        if n_bytes > self._limit - start:
            raise self._too_short(n_bytes, field)
        self.offset = start + n_bytes
        return start

    def u32(self, field: str) -> int:
        value: int = _U32.unpack_from(self.data, self.take(4, field))[0]
        return value

    def u64(self, field: str) -> int:
        value: int = _U64.unpack_from(self.data, self.take(8, field))[0]
        return value

    def string(self, field: str, max_bytes: int = MAX_STRING_BYTES) -> bytes:
        """A string: u64 length, then its bytes."""
        start = self.offset
        n_bytes = self.u64(field)
        if n_bytes > max_bytes:
            raise self.error(start, field, f"length {n_bytes} is more than the {max_bytes} bytes allowed")
        begin = self.take(n_bytes, field)
        return bytes(self.data[begin : begin + n_bytes])

    def name(self, field: str, max_bytes: int) -> str:
        """A string that names something: UTF-8, not empty, without NUL."""
        start = self.offset
        raw = self.string(field, max_bytes)
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.error(start, field, f"{raw!r} is not UTF-8") from None
        if not name or "\0" in name:
            raise self.error(start, field, "empty" if not name else f"{name!r} contains a NUL")
        return name

    def count(self, field: str, min_bytes: int) -> int:
        """A u64 count of elements of at least `min_bytes` each; refused if the file cannot hold them."""
        start = self.offset
        count = self.u64(field)
        if count * min_bytes > self.left:
            need = f"{count} need at least {count * min_bytes} bytes, only {self.left} may follow"
            raise self.error(start, field, f"{need}; {INCOMPLETE}")
        return count

    def error(self, offset: int, field: str, problem: str) -> GGUFFormatError:
        """The error to raise for `field` at `offset`."""
        return GGUFFormatError(f"{self.path}: {field} at byte {offset}: {problem}")

    def _too_short(self, n_bytes: int, field: str) -> GGUFFormatError:
        if self.offset + n_bytes <= len(self.data):
            problem = f"metadata and tensor list are larger than the {MAX_HEADER_BYTES} bytes allowed"
        else:
            problem = f"truncated: need {n_bytes} bytes, have {len(self.data) - self.offset}; {INCOMPLETE}"
        return self.error(self.offset, field, problem)
