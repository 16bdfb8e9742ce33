"""Opens a model whose engine runs in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ...engine.model import Model
from ...errors import ModelError
from ...hub.models import resolve
from ...system.notices import is_quiet
from .events import OnEvent
from .ledger import Ledger
from .messages import Start
from .process import EngineProcess
from .remote_engine import RemoteEngine
from .supervisor import OnLine, Supervisor
from .turn_takers import TURN_TAKERS
from .watched_file import WatchedFile


def open_engine(
    path: str | os.PathLike[str],
    name: str,
    options: Mapping[str, Any] | None = None,
    on_event: OnEvent = lambda event: None,
) -> RemoteEngine:
    """The model `path` (a path, name or address), loaded; `name` is what messages call it.

    `options` are arguments of `LLM`, and `falls_back`: where memory is short, weights stay in the file, and
    keys and values take less, instead of an error (default). `on_event` hears of what happens to the process,
    from any thread; it must not wait.

    Raises what `LLM` raises, and EngineError if the process dies while it loads.
    """
    given = dict(options or {})
    chat_template, falls_back = given.pop("chat_template", None), given.pop("falls_back", True)
    where = os.fspath(resolve(path))
    if given.get("draft") not in (None, "ngram"):
        given["draft"] = os.fspath(resolve(given["draft"]))
    watched = WatchedFile(where, name)

    def start(on_line: OnLine) -> EngineProcess:
        message = Start(watched.path_to_open(), given, falls_back, os.getpid(), is_quiet())
        return EngineProcess(message, on_line)

    ledger = Ledger(watched.translated)
    supervisor = Supervisor(name, ledger, start, watched.problem, on_event)
    supervisor.begin()  # it loads while the front reads what it needs
    model: Model | None = None
    try:
        model = Model.load(where)
        _ = model.text
        loaded = supervisor.wait_loaded()
        if loaded.identity != model.file.identity:
            raise ModelError(f"{where}: model file changed while it was opened; load it again")
        watched.model = model
        engine = RemoteEngine(
            model, watched, supervisor, ledger, loaded, {"chat_template": chat_template}, on_event
        )
    except BaseException:
        supervisor.close()
        if model is not None:
            model.close()
        raise
    TURN_TAKERS.enter(supervisor)
    return engine
