"""Arrays of strings: vocabularies and merges, with up to half a million elements."""

import struct
from dataclasses import dataclass

import numpy as np

from ..errors import ModelError
from .cursor import MAX_STRING_BYTES, MAX_STRINGS, Cursor

_LENGTH = struct.Struct("<Q")
_WINDOW_BYTES = 1 << 18
_RUN = 4096


@dataclass(frozen=True, slots=True, eq=False)
class StringArray:
    """The strings of one array, not decoded yet.

    start -> | length: u64 | bytes | length: u64 | bytes | … | <- end
    """

    data: memoryview
    n_strings: int
    path: str

    def __len__(self) -> int:
        return self.n_strings

    def decode(self) -> list[str | bytes]:
        """The strings; an element that is not UTF-8 stays bytes. ModelError if the file has changed."""
        raw = bytes(self.data)
        strings: list[str | bytes] = []
        append, length_at = strings.append, _LENGTH.unpack_from
        position = 0
        for _ in range(self.n_strings):
            if position + 8 > len(raw):
                raise ModelError(f"{self.path}: model file changed while it was open; load it again")
            start = position + 8
            position = start + length_at(raw, position)[0]
            string = raw[start:position]
            try:
                append(string.decode())
            except UnicodeDecodeError:
                append(string)
        return strings


def read_string_array(cursor: Cursor, n_strings: int, field: str) -> StringArray:
    """Steps over `n_strings` strings, checking that each lies in the file.

    Reading a length in Python takes 0.15 us, so NumPy takes short strings a window at a time. Where that does
    not get far, a run of strings is read one by one: the time is linear for any content.
    """
    if n_strings > cursor.strings_left:
        raise cursor.error(
            cursor.offset, field, f"more than the {MAX_STRINGS} strings allowed in a file's arrays"
        )
    cursor.strings_left -= n_strings
    start = cursor.offset
    done = 0
    while done < n_strings:
        missing = n_strings - done
        n_short = _skip_short_strings(cursor, missing) if missing > _RUN else 0
        done += n_short
        if n_short < _RUN:
            run = min(_RUN, n_strings - done)
            _skip_strings(cursor, run, done, field)
            done += run
    return StringArray(cursor.data[start : cursor.offset], n_strings, cursor.path)


def _skip_short_strings(cursor: Cursor, n_strings: int) -> int:
    """Steps over up to `n_strings` strings of less than 256 bytes, as many as are certain; -> how many.

    The length of such a string has seven zero bytes after its first byte, which text does not contain. So
    each byte before seven zeros may start a string; it does, as long as each length points at the next start.
    """
    window = np.frombuffer(cursor.data, np.uint8, min(_WINDOW_BYTES, cursor.left), cursor.offset)
    zero = window == 0
    zeros_2 = zero[:-1] & zero[1:]
    zeros_4 = zeros_2[:-2] & zeros_2[2:]
    zeros_7 = zeros_4[:-3] & zeros_4[3:]
    starts = np.flatnonzero(zeros_7[1:])
    if not len(starts) or starts[0] != 0:
        return 0
    ends = starts + 8 + window[starts]
    breaks = np.flatnonzero(ends[:-1] != starts[1:])
    n_certain = int(breaks[0]) + 1 if len(breaks) else len(starts)
    if ends[n_certain - 1] > cursor.left:  # the last may end beyond the file: `_skip_strings` reports it
        n_certain -= 1
    n_taken = min(n_certain, n_strings)
    if n_taken:
        cursor.offset += int(ends[n_taken - 1])
    return n_taken


def _skip_strings(cursor: Cursor, n_strings: int, first: int, field: str) -> None:
    """Steps over `n_strings` strings, the first of which has the index `first`, one after another."""
    data, length_at = cursor.data, _LENGTH.unpack_from
    position = cursor.offset
    limit = position + cursor.left
    for index in range(first, first + n_strings):
        end = position + 8
        if end <= limit:
            end += length_at(data, position)[0]
        if end > limit or end - position > MAX_STRING_BYTES:
            cursor.offset = position
            cursor.string(f"{field}[{index}]")  # raises, and says why
            end = cursor.offset
        position = end
    cursor.offset = position
