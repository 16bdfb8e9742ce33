"""How answers are shown: on a terminal, in a pipe, as Markdown while they come."""

import io
import re
import sys

import pytest
from hypothesis import given, strategies as st
from rich.console import Console
from rich.markdown import Markdown

from nybble.cli.chat.markdown_screen import MarkdownScreen, end_of_blocks
from nybble.cli.chat.screen import Screen, has_styles, safe
from nybble.engine.chat.message import ChatDelta, FunctionCall, ToolCallDelta

ANSWER = [ChatDelta(reasoning="so\n"), ChatDelta(reasoning="so"), ChatDelta("Yes, "), ChatDelta("*indeed*.")]
CALL = ChatDelta(tool_calls=(ToolCallDelta(0, "id", FunctionCall("look", '{"at": 1}')),))
EVIL = "\x1b[2J\x9b31m\u202eevil\x07\r\x00"

TEXT = """# Title

A paragraph with `code` and *stress*,
on two lines.

1. one
2. two

```python
def f():

    return 1
```

~~~~
```

~~~
~~~~

The end."""


@pytest.fixture
def as_terminal(monkeypatch, capsys):
    """To be called first: stdout says that it is a terminal; -> what gives its output."""

    def start():
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        return lambda: capsys.readouterr().out

    return start


def test_a_pipe_gets_the_words_alone(capsys):
    Screen().show([*ANSWER, ChatDelta(EVIL)])
    assert capsys.readouterr().out == f"Yes, *indeed*.{EVIL}\n"


def test_a_terminal_shows_reasoning_dimmed(as_terminal):
    terminal = as_terminal()
    Screen().show(ANSWER)
    assert terminal() == "\x1b[2mso\n\x1b[22m\x1b[2mso\x1b[22m\n\nYes, *indeed*.\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_styles_where_they_are_not_wanted(name, value, as_terminal, monkeypatch):
    terminal = as_terminal()
    assert has_styles()
    monkeypatch.setenv(name, value)
    assert not has_styles()
    Screen().show([*ANSWER, CALL])
    assert terminal() == 'so\nso\n\nYes, *indeed*.look({"at": 1})\n'


def test_no_answer_controls_the_terminal(as_terminal):
    terminal = as_terminal()
    Screen().show([ChatDelta(EVIL)])
    MarkdownScreen().show([ChatDelta(reasoning=EVIL), ChatDelta(f"{EVIL}\n\n{EVIL}")])
    shown = terminal()
    assert not {"\x9b", "\u202e", "\x07", "\x00"} & set(shown) and "\x1b[2J" not in shown
    assert safe("a\tb\n👩‍🚀é") == "a\tb\n👩‍🚀é"


def test_the_line_ends_even_if_reading_fails(capsys):
    def broken():
        yield ChatDelta("Yes")
        raise ValueError

    with pytest.raises(ValueError):
        Screen().show(broken())
    assert capsys.readouterr().out == "Yes\n"


def markdown_screen(width=60, height=20):
    screen = MarkdownScreen()
    screen._console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    return screen


def lines_of(console):
    """What was printed, without empty lines and escape sequences."""
    lines = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", console.file.getvalue()).replace("\r", "\n").splitlines()
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_markdown_is_shown_whole_however_it_comes(size, monkeypatch):
    """Without pictures of what grows, what is printed is all that rich makes of the whole text."""
    monkeypatch.setattr("nybble.cli.chat.markdown_screen._SECONDS", 1e9)
    screen, at_once = markdown_screen(), markdown_screen()._console
    screen.show([ChatDelta(TEXT[i : i + size]) for i in range(0, len(TEXT), size)])
    at_once.print(Markdown(TEXT))
    assert lines_of(screen._console) == lines_of(at_once)


def test_markdown_has_reasoning_before_and_calls_after_it(monkeypatch):
    monkeypatch.setattr("nybble.cli.chat.markdown_screen._SECONDS", 1e9)
    screen = markdown_screen()
    screen.show([*ANSWER, CALL, ChatDelta("\nBye.")])
    assert lines_of(screen._console) == ["so", "so", "Yes, indeed.", 'look({"at": 1})', "Bye."]


def test_what_grows_is_drawn(monkeypatch):
    monkeypatch.setattr("nybble.cli.chat.markdown_screen._SECONDS", 0)
    screen = markdown_screen()
    screen.show(ANSWER)
    lines = lines_of(screen._console)
    assert lines.count("Yes,") == 1 and lines[-1] == "Yes, indeed."


def test_a_small_terminal_is_drawn_with_what_fits():
    screen = markdown_screen(width=20, height=5)
    screen._words = "word " * 200
    console = screen._console
    console.print(screen._growing())
    assert console.file.getvalue().count("\n") <= 5


def test_blocks_end_at_empty_lines_outside_of_fences():
    assert end_of_blocks("a\n\nb") == 3
    assert end_of_blocks("a\nb") == end_of_blocks("```\n\n") == end_of_blocks("~~~\n```\n\n") == 0
    assert end_of_blocks("```\n\n```\n\n") == 10
    assert end_of_blocks("a\n\n \n") == 5


@given(st.lists(st.sampled_from(["a\n", "\n", "```\n", "~~~\n", "````\n", "- b\n", "  \n"]), max_size=12))
def test_more_text_never_takes_back_a_block(lines):
    """What is complete after some of a text stays so, and together the parts are the text."""
    text, ends = "".join(lines), []
    for n in range(len(lines) + 1):
        ends.append(end_of_blocks("".join(lines[:n])))
    assert ends == sorted(ends) and ends[-1] <= len(text)
    rest, parts = "", []
    for line in lines:
        rest += line
        if end := end_of_blocks(rest):
            parts.append(rest[:end])
            rest = rest[end:]
    assert "".join([*parts, rest]) == text
    assert sum(map(len, parts)) == ends[-1]
