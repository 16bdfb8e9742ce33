"""Lines of files: as Python splits them, but for the blank and the too long ones."""

import io

from hypothesis import given, strategies as st

from nybble.batch.lines import lines

PIECES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b" ", b"x" * 9, b"\xff"]), max_size=40)


@given(PIECES, st.integers(1, 12))
def test_lines(pieces, max_bytes):
    content = b"".join(pieces)
    found = list(lines(io.BytesIO(content), max_bytes))
    expected = [line for line in io.BytesIO(content) if line[: max_bytes + 1].strip()]
    assert [line.n_bytes for line in found] == [len(line) for line in expected]
    for line, whole in zip(found, expected, strict=True):
        assert line.is_ended == whole.endswith(b"\n")
        assert line.content == whole[:max_bytes].rstrip(b"\r\n")
        assert line.is_cut == (len(whole) > max_bytes + 1)


def test_a_long_line_is_not_kept():
    class Endless(io.RawIOBase):
        n_left = 1 << 30

        def readable(self):
            return True

        def readinto(self, buffer):
            n = min(len(buffer), self.n_left)
            buffer[:n] = b"x" * n
            self.n_left -= n
            return n

    (line,) = lines(io.BufferedReader(Endless()), 1000)
    assert line.content == b"x" * 1000 and line.n_bytes == 1 << 30 and line.is_cut and not line.is_ended
