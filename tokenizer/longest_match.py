"""The longest of many texts that stands at a place."""

from collections.abc import Collection


class LongestMatch:
    """Tells which of `texts` stands at a place in a text: the longest, where several do.

    A dictionary tells by the first two characters which lengths there are, so that few slices are tried.
    """

    def __init__(self, texts: Collection[str]) -> None:
        """`texts`: none of them empty, in a collection that is quick to ask, such as a dict's keys."""
        self._texts = texts
        lengths: dict[str, set[int]] = {}
        for text in texts:
            lengths.setdefault(text[:2], set()).add(len(text))
        for beginning in lengths:  # where a longer text may begin, one of a single character may stand, too
            lengths[beginning] |= lengths.get(beginning[0], set())
        self._lengths = {beginning: sorted(found, reverse=True) for beginning, found in lengths.items()}

    def lengths_at(self, text: str, position: int) -> list[int]:
        """The lengths that are worth a try there, longest first."""
        return self._lengths.get(text[position : position + 2]) or self._lengths.get(text[position], [])

    def length_at(self, text: str, position: int) -> int:
        """The length of the longest text that stands there, 0 if there is none."""
        for length in self.lengths_at(text, position):
            if text[position : position + length] in self._texts:
                return length
        return 0
