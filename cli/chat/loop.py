"""Question and answer, until there are no more questions."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import NybbleError, RequestError
from ..option_names import in_options
from ..parser import Parser
from ..plain_text import plain
from ..standard_streams import complain
from .answering import Answering
from .reader import questions
from .screen import Screen
from .session import Answer, Session
from .slash import run_command

_ENDS = {
    "cancelled": "stopped",
    "length": "cut off: as many tokens as -n allows, or as the context holds (-c)",
    "repetition": "ended, since it repeats itself (--repetition-detection)",
}


def converse(session: Session, line: Callable[[bool], str], screen: Screen, parser: Parser) -> None:
    """Answers what `line` gives, as `questions` reads it. Ctrl-C stops an answer, or drops a line; errors are
    told, and the conversation goes on. `parser`: for the names of options in messages."""
    for text in questions(_without_interrupts(line, screen)):
        try:
            if text.startswith("/") and not text.startswith("//"):
                found = _run_command(text, session)
                if found is None:
                    return
                if isinstance(found, str):
                    screen.note(found)
                    continue
                answer = found
            else:
                answer = session.ask(text.removeprefix("/") if text.startswith("//") else text)
            _show(session, answer, screen)
        except NybbleError as error:
            complain(f"nybble: error: {plain(in_options(str(error), parser))}")


def _run_command(text: str, session: Session) -> Answer | str | None:
    """As `run_command`; what the system has against a file is a RequestError, too."""
    try:
        return run_command(text, session)
    except OSError as error:
        raise RequestError(f"{error.filename}: {error.strerror}") from error


def _show(session: Session, answer: Answer, screen: Screen) -> None:
    try:
        screen.show(Answering(answer))
    finally:
        out = session.keep(answer)
    if out.n_dropped_messages:
        screen.note(f"{out.n_dropped_messages} old messages did not fit into the context, and were left out")
    if out.finish_reason in _ENDS:
        screen.note(_ENDS[out.finish_reason])


def _without_interrupts(line: Callable[[bool], str], screen: Screen) -> Callable[[bool], str]:
    """Ctrl-C at an empty prompt says how to end; what was typed is dropped."""

    def read(more: bool) -> str:
        while True:
            try:
                return line(more)
            except KeyboardInterrupt:
                screen.note("Ctrl-D or /exit ends")
                more = False

    return read
