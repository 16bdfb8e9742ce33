"""What happens to an engine, for the log and for who counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EngineEvent:
    """A line of the log: `kind` is one of loaded, died, restarting, lost, replaced, memory, says and
    closed."""

    kind: str
    message: str
    level: int = logging.INFO
    facts: Mapping[str, Any] = field(default_factory=dict)


OnEvent = Callable[[EngineEvent], object]
