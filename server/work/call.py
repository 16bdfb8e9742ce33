"""A request that has been read and checked, and what its handler gives back."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..schema.fields import Record
from .served_model import ServedModel
from .settings import Settings
from .usage import Usage

if TYPE_CHECKING:
    from ..models.registry import Registry


@dataclass(frozen=True, eq=False)
class Call:
    """What a handler gets."""

    id: str
    path: str
    fields: Mapping[str, Any]
    """The body, checked by the schema of its path."""
    settings: Settings
    models: Registry
    cache_salt: str | None
    """Keeps what is computed for one key's prompts from others'."""
    usage: Usage
    """What the handler has measured, for the log and the metrics."""
    admit: Callable[[int], None]
    """Takes places for so many texts in all, until the call ends; `APIError` if the queue is full."""
    hold: Callable[[int], None] = lambda n_bytes: None
    """Takes memory for a large answer, until the call ends; `APIError` if others have too much of it."""
    at_end: ExitStack = field(default_factory=ExitStack)
    """Closed when the call ends."""

    async def model(self, name: str | None, keep_alive: float | None = None) -> ServedModel:
        """The model of that name, the only one without; loaded, until the call ends and `keep_alive` seconds
        longer. `APIError` if there is none, or it cannot be loaded."""

        def on_wait() -> None:
            self.admit(1)
            self.usage.model = (name or "")[:100]

        began = time.perf_counter()
        model = await self.models.use(name, self.at_end, keep_alive, on_wait)
        self.usage.load_seconds = time.perf_counter() - began
        return model


@dataclass(frozen=True)
class Reply:
    """A whole answer: a JSON value, which is made a text in a thread if it `is_large`, or bytes."""

    content: Any
    media_type: str = "application/json"
    is_large: bool = False


@dataclass(frozen=True)
class Events:
    """An answer that comes bit by bit. `chunks` are sent as they come, and `ping` while none do: so they
    should begin with all that takes time, as loading the model. What they raise before anything was sent is a
    plain error, and later `failure(error)` is sent."""

    chunks: AsyncGenerator[bytes]
    failure: Callable[[Any], bytes]
    ping: bytes = b": ping\n\n"
    media_type: str = "text/event-stream"


Handler = Callable[[Call], Awaitable[Reply | Events]]


@dataclass(frozen=True)
class Endpoint:
    """A path, what it takes and what answers it."""

    method: str
    path: str
    handler: Handler
    schema: Record | None = None
    summary: str = ""
