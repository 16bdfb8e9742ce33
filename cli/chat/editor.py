"""Lines of a terminal with the package prompt_toolkit (extra `chat`): several lines, and a history that
stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle

from ...system.cache_folder import cache_folder


def edited_line(commands: list[str]) -> Callable[[bool], str]:
    """Enter ends what is said, Alt-Enter begins a line; the arrows call back what was said before; Tab
    completes `commands`."""
    keys = KeyBindings()

    @keys.add("enter")
    def _end(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _break(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    session: PromptSession[str] = PromptSession(
        history=_history(),
        auto_suggest=AutoSuggestFromHistory(),
        completer=WordCompleter(commands, sentence=True),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
        key_bindings=keys,
        multiline=True,
        prompt_continuation="... ",
    )
    return lambda more: session.prompt("... " if more else ">>> ")


def _history() -> History:
    """In the cache folder, where only the user can read it; of this process alone if it cannot be written."""
    try:
        path = cache_folder() / "chat_history"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
        return FileHistory(str(Path(path)))
    except OSError:
        return InMemoryHistory()
