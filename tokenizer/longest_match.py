"""Finds the longest of many texts that begins at a position."""

from collections.abc import Collection


class LongestMatch:
    """Finds which of `texts` begins at a position of a text: the longest, if several do.

    A dictionary from the first two characters to the possible lengths keeps the number of slices small.
    """

    def __init__(self, texts: Collection[str]) -> None:
        """`texts`: none of them empty, in a collection with fast `in`, such as the keys of a dict."""
        self._texts = texts
        lengths: dict[str, set[int]] = {}
        for text in texts:
            lengths.setdefault(text[:2], set()).add(len(text))
        for beginning in lengths:  # where a longer text may begin, one of a single character may too
            lengths[beginning] |= lengths.get(beginning[0], set())
        self._lengths = {beginning: sorted(found, reverse=True) for beginning, found in lengths.items()}

    def lengths_at(self, text: str, position: int) -> list[int]:
        """The possible lengths of a match there, longest first."""
        return self._lengths.get(text[position : position + 2]) or self._lengths.get(text[position], [])

    def length_at(self, text: str, position: int) -> int:
        """The length of the longest text that begins there, 0 if there is none."""
        for length in self.lengths_at(text, position):
            if text[position : position + length] in self._texts:
                return length
        return 0
