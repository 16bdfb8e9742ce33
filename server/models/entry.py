"""A model of the server: whether it is in memory, and who uses it or waits for it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import Literal

from ...engine.model_info import ModelInfo
from ..work.engine_status import EngineStatus
from ..work.served_model import ServedModel
from .catalog import Found

State = Literal["not loaded", "loading", "loaded", "unloading"]


@dataclass(eq=False)
class Entry:
    """What the event loop alone changes."""

    name: str
    found: Found | None = None
    """Where it comes from; None: it was given as it is, and stays."""
    model: ServedModel | None = None
    """There as long as it is loaded."""
    state: State = "not loaded"
    keep_alive: float = math.inf
    """Seconds that it stays without work; 0: it goes with the end of its last request."""
    usual_keep_alive: float = math.inf
    """What `keep_alive` is again when it is loaded anew."""
    n_users: int = 0
    waiters: list[asyncio.Future[ServedModel]] = field(default_factory=list)
    last_used: float = 0.0
    """By the clock of the loader."""
    n_bytes: int = 0
    """What it takes of the memory, as long as it is not "not loaded"."""
    is_leaving: bool = False
    """Others wait for its memory, so new requests wait behind them."""
    problem: str = ""
    """Why it could not be loaded the last time."""

    @property
    def is_ready(self) -> bool:
        """Can it be used at once?"""
        return self.state == "loaded" and not self.is_leaving

    @property
    def is_idle(self) -> bool:
        """Is it in memory, and may it be unloaded?"""
        return self.state == "loaded" and not self.n_users and self.found is not None

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        if self.model is not None:
            return self.model.backend.info
        if self.found is None or self.found.facts is None:
            raise RuntimeError(f"{self.name} is neither loaded nor found")
        return self.found.facts.info

    @property
    def status(self) -> EngineStatus | None:
        """How its engine is; None: it is not loaded, or runs in this process."""
        return None if self.model is None else self.model.status

    @property
    def cost(self) -> int:
        """Bytes that it takes, or will take, of the memory."""
        if self.state != "not loaded" or self.found is None or self.found.facts is None:
            return self.n_bytes
        return self.found.facts.n_bytes

    @property
    def created(self) -> int:
        """In seconds since 1970."""
        if self.model is not None:
            return self.model.created
        return self.found.created if self.found is not None else 0
