"""What begins with a slash is no question but a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...errors import RequestError, did_you_mean
from .session import Answer, Session


class Command(NamedTuple):
    """`run(session, words after the name)` gives an answer to be shown, a text to be said, or None."""

    argument: str
    help: str
    run: Callable[[Session, str], Answer | str | None]


def _system(session: Session, words: str) -> str:
    session.tell(words or None)
    return (
        "the system's message is gone" if not words else "the system's message is now before the conversation"
    )


def _reset(session: Session, words: str) -> str:
    session.reset()
    return "a new conversation"


def _save(session: Session, words: str) -> str:
    return f"{session.save(_path(words, 'save'))} messages saved in {words}"


def _load(session: Session, words: str) -> str:
    return f"{session.load(_path(words, 'load'))} messages loaded from {words}"


def _path(words: str, name: str) -> str:
    if not words:
        raise RequestError(f"/{name} takes the path of a file: /{name} conversation.json")
    return words


def _regenerate(session: Session, words: str) -> Answer:
    return session.regenerate()


def _stats(session: Session, words: str) -> str:
    out = session.last
    if out is None:
        return "there is no answer yet"
    times = out.timings
    left_out = f"; {out.n_dropped_messages} old messages left out" if out.n_dropped_messages else ""
    n_used, n_ctx = out.n_prompt_tokens + len(out.token_ids), session.backend.n_ctx
    return (
        f"{out.n_prompt_tokens} prompt tokens ({out.n_cached_tokens} of them computed before)"
        f" at {times.prefill_tokens_per_second:.1f}/s, {len(out.token_ids)} generated"
        f" at {times.decode_tokens_per_second:.1f}/s ({out.finish_reason});"
        f" {n_used} of {n_ctx} tokens in the context{left_out}"
    )


def _help(session: Session, words: str) -> str:
    rows = [f"/{name} {command.argument}".rstrip() for name, command in COMMANDS.items()]
    width = max(map(len, rows))
    lines = [f"{row:<{width}}  {c.help}" for row, c in zip(rows, COMMANDS.values(), strict=True)]
    return "\n".join([*lines, "", *_KEYS])


_KEYS = (
    'several lines: end a line with \\, or put the text between """ and """; Alt-Enter with the extra `chat`',
    "Ctrl-C stops the answer, Ctrl-D ends; a question that begins with / is written with two of them",
)

COMMANDS = {
    "help": Command("", "this list", _help),
    "system": Command("[TEXT]", "tell the model something before the conversation, or no more", _system),
    "reset": Command("", "begin a new conversation", _reset),
    "regenerate": Command("", "answer the last question again", _regenerate),
    "save": Command("FILE", "write the conversation to a file (JSON)", _save),
    "load": Command("FILE", "go on with a conversation from a file", _load),
    "stats": Command("", "how long the last answer took", _stats),
    "exit": Command("", "end, as Ctrl-D does", lambda session, words: None),
}


def run_command(text: str, session: Session) -> Answer | str | None:
    """Runs the command in `text`, which begins with a slash; None: it is the end. RequestError if there is no
    such command, and what it raises."""
    name, _, words = text[1:].partition(" ")
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS) or "; /help lists all"
        raise RequestError(f"there is no command /{name}{hint} (a question that begins with / takes two)")
    return COMMANDS[name].run(session, words.strip())
