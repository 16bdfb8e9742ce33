"""Drafts by looking up the last tokens, against a search through the whole text."""

import pytest
from hypothesis import given, strategies as st

from nybble.engine.speculation.ngram import NgramDraft


def searched(ids, n):
    """What followed the most recent earlier place of the longest run of last ids, 4 to 2 of them."""
    for length in (4, 3, 2):
        for end in range(len(ids) - 1, length - 1, -1):
            if ids[end - length : end] == ids[-length:]:
                return ids[end : end + n]
    return []


@given(
    pieces=st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=12),
    n=st.integers(1, 9),
)
def test_it_finds_what_a_search_finds(pieces, n):
    draft, ids = NgramDraft(), []
    assert draft.propose(n) == []
    for piece in pieces:
        draft.extend(piece)
        ids += piece
        assert draft.propose(n) == searched(ids, n), ids


@pytest.mark.parametrize(
    ("text", "n", "proposed"),
    [
        ("the cat sat. the c", 6, "at sat"),
        ("the cat sat. the c", 99, "at sat. the c"),  # no more than there is
        ("one two one three one t", 4, "hree"),  # the most recent place
        ("1one 2one 1on", 2, "e "),  # the longest run: "1on", not "on"
        ("abcdefg", 4, ""),
        ("aaaa", 4, "a"),
        ("a", 4, ""),
    ],
)
def test_texts(text, n, proposed):
    draft = NgramDraft()
    draft.extend(text.encode())
    assert bytes(draft.propose(n)).decode() == proposed


def test_proposing_changes_nothing():
    draft = NgramDraft()
    draft.extend([1, 2, 3, 1, 2])
    proposed = draft.propose(3)
    proposed.append(7)
    assert draft.propose(3) == [3, 1, 2]
    draft.extend([3])
    assert draft.propose(3) == [1, 2, 3]
