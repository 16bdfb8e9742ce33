"""What the user says, in a line or several."""

import pytest

from nybble.cli.chat.reader import questions

CASES = {
    "lines": ("a\nb", ["a", "b"]),
    "empty ones": ("\n  \na\n\n", ["a"]),
    "a backslash": ("a\\\nb\\\n\nc", ["a\nb\n", "c"]),
    "quotes": ('"""a\n\nb"""\nc', ["a\n\nb", "c"]),
    "quotes on a line": ('  """a"""', ["a"]),
    "quotes on lines of their own": ('"""\na\nb\n"""', ["a\nb"]),
    "quotes that do not end": ('x\n"""a\nb', ["x"]),
    "a backslash in quotes": ('"""a\\\nb"""', ["a\\\nb"]),
    "nothing": ("", []),
    "quotes around nothing": ('"""\n"""\na', ["a"]),
}


@pytest.mark.parametrize("name", CASES)
def test_lines_become_questions(name):
    text, expected = CASES[name]
    lines = iter(text.split("\n") if text else [])
    more = []

    def line(goes_on):
        more.append(goes_on)
        for found in lines:
            return found
        raise EOFError

    asked = list(questions(line))
    assert [question.strip("\n") for question in asked] == [text.strip("\n") for text in expected]
    assert more[0] is False
