"""Drafts by looking up the last tokens earlier in the text: what followed there may follow again.

It costs next to nothing, and is often right where a text repeats itself or its prompt: editing code, quoting,
summarizing.

Sources: Saxena 2023, "Prompt lookup decoding"; Yang et al. 2023, "Inference with reference",
arXiv:2304.04487.
"""

from collections.abc import Sequence

_LENGTHS = (4, 3, 2)
"""The lengths that are looked up, in this order. Single tokens recur everywhere, so they say too little."""


class NgramDraft:
    """Proposes what followed the last tokens of a text where they stood before (a `Draft`).

    Of the longest run of last tokens that stood before, the most recent place counts.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._next: dict[tuple[int, ...], int] = {}  # run of tokens -> where its most recent continuation is

    def extend(self, ids: Sequence[int]) -> None:
        """Adds the ids that come next in the text, in constant time for each."""
        for id_ in map(int, ids):
            here = len(self._ids)
            for length in _LENGTHS:
                if length <= here:  # entered now that there is a continuation
                    self._next[tuple(self._ids[-length:])] = here
            self._ids.append(id_)

    def propose(self, n: int) -> list[int]:
        """Up to `n` ids: fewer where the text ends, none where the last tokens are new."""
        for length in _LENGTHS:
            if length <= len(self._ids):
                place = self._next.get(tuple(self._ids[-length:]))
                if place is not None:
                    return self._ids[place : place + n]
        return []
