"""Stop strings: where they end a text, and what is shown before."""

import pytest
from hypothesis import given, strategies as st
from scripted_stream import stream

from nybble.engine.generation.stop import StopScanner


@pytest.mark.parametrize(
    ("script", "stop", "text", "reason"),
    [
        ("one two~", [" "], "one", "stop"),
        ("one two~", ["two"], "one ", "stop"),
        ("one two~", ["x", "ne", "e t"], "o", "stop"),
        ("aab aac~", ["aac"], "aab ", "stop"),
        ("abab~", ["abac"], "abab", "stop"),
        ("ab~", ["abc"], "ab", "stop"),
        ("abcdefgh", ["zz"], "abcdef", "length"),
        ("abcdefgh", ["fgh"], "abcdef", "length"),
        ("abcdefgh", ["ef"], "abcd", "stop"),
    ],
)
def test_stop_strings(script, stop, text, reason):
    s = stream(script, max_tokens=6 if "~" not in script else 20, stop=stop)
    pieces = list(s)
    assert ("".join(pieces), s.finish_reason) == (text, reason)
    assert all(pieces)


@given(
    st.lists(st.tuples(st.text("ab", min_size=0, max_size=4), st.booleans()), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=5), max_size=3),
)
def test_the_scanner_shows_all_that_no_stop_string_can_begin_in(pieces, stop):
    """Each letter is shown, or not, as its piece is; the oracle looks at the letters of all that has come."""
    scanner, shown, came, is_shown = StopScanner(stop), "", "", []
    for piece, visible in pieces:
        came += piece
        is_shown += [visible] * len(piece)
        shown += scanner.push(piece, piece if visible else "")
        begins = [came.find(s) for s in stop if s in came] or [
            n for n in range(len(came)) if any(s.startswith(came[n:]) for s in stop)
        ]
        assert shown == "".join(came[n] for n in range(min(begins, default=len(came))) if is_shown[n])
        assert scanner.found == any(s in came for s in stop)
        if scanner.found:
            assert scanner.flush() == ""
            return
    assert shown + scanner.flush() == "".join(came[n] for n in range(len(came)) if is_shown[n])
