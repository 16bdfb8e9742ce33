"""Pieces that a package for tokenizing needs beside those of the vocabulary."""

from itertools import chain


class ExtraPieces(dict[str, list[int]]):
    """Text of each such piece -> the ids of the vocabulary that stand for it.

    The package gives them the ids from `first` on, in this order.
    """

    def __init__(self, first: int, pieces: dict[str, list[int]]) -> None:
        super().__init__(pieces)
        self._first = first
        self._substitutes = list(pieces.values())

    def ids(self) -> dict[str, int]:
        """Text of each piece -> its id for the package."""
        return {text: id_ for id_, text in enumerate(self, self._first)}

    def resolve(self, ids: list[int]) -> list[int]:
        """What the package has found, in ids of the vocabulary."""
        first, substitutes = self._first, self._substitutes
        if max(ids, default=0) < first:
            return ids
        return list(chain.from_iterable([id_] if id_ < first else substitutes[id_ - first] for id_ in ids))
