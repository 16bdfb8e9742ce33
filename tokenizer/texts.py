"""Many texts in one block of memory: a Python string takes some 50 bytes beside its letters."""

import operator
from collections.abc import Iterator, Sequence
from typing import SupportsIndex

import numpy as np


def bytes_text(raw: bytes) -> str:
    """`raw` as text; bytes that are not UTF-8 become lone surrogates, which `text_bytes` turns back."""
    return raw.decode(errors="surrogateescape")


def text_bytes(text: str) -> bytes:
    """The bytes of a token in the file: the inverse of `bytes_text`."""
    return text.encode(errors="surrogateescape")


def all_bytes(texts: Sequence[str]) -> list[bytes]:
    """The `text_bytes` of each; fast where all are UTF-8, as usual."""
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return list(map(text_bytes, texts))


class Texts(Sequence[str]):
    """A read-only list of texts, each decoded on access; lone surrogates are bytes that are not UTF-8."""

    def __init__(self, texts: Sequence[str]) -> None:
        encoded = all_bytes(texts)
        self._bytes = b"".join(encoded)
        self._ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self._ends.tolist():
            yield bytes_text(self._bytes[start:end])
            start = end

    def __getitem__(self, index: SupportsIndex) -> str:  # type: ignore[override]  # nobody wants slices
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"there are {len(self)} texts, and none has the number {i}")
        i %= len(self)
        start = self._ends[i - 1] if i else 0
        return bytes_text(self._bytes[start : self._ends[i]])
