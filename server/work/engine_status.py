"""How the engine of a model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

EngineState = Literal["loading", "ready", "restarting", "down", "lost", "closed"]
"""`down`: it has not come up several times, and is tried again; `lost`: it is not tried any more."""


@dataclass(frozen=True)
class EngineStatus:
    """What `/health`, `/metrics` and `/v1/models` say of an engine."""

    state: EngineState
    n_restarts: int = 0
    """How often it was started again since the model was loaded."""
    notice: str = ""
    """What its users should know: that its file was replaced, that it runs from mapped weights."""
    pid: int | None = None
    """The number of its process, while there is one."""


@runtime_checkable
class HasStatus(Protocol):
    """A backend that says how its engine is."""

    @property
    def status(self) -> EngineStatus: ...
