"""Many texts in one piece of memory: as strings each would take some 50 bytes beside its letters."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np


class Texts(Sequence[str]):
    """A read-only list of texts, each made when it is asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._bytes = "".join(texts).encode()
        begins_letter = np.frombuffer(self._bytes, np.int8) >= -64  # UTF-8 goes on with 10xxxxxx
        letters = np.append(np.flatnonzero(begins_letter), len(self._bytes))
        self._ends = letters[np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))]

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: SupportsIndex) -> str:  # type: ignore[override]  # nobody wants slices
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"there are {len(self)} texts, and none has the number {i}")
        i %= len(self)
        start = self._ends[i - 1] if i else 0
        return self._bytes[start : self._ends[i]].decode()
