"""What one request has used: tokens and times."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(eq=False)
class Usage:
    """Counts while a request runs. Times are those of `time.perf_counter`."""

    model: str = ""
    n_prompt: int = 0
    n_cached: int = 0
    n_generated: int = 0
    finish_reasons: list[str] = field(default_factory=list)
    load_seconds: float = 0.0
    """How long its model was waited for."""
    began: float = field(default_factory=time.perf_counter)
    first: float | None = None
    """When the first piece came."""
    last: float | None = None
    gaps: list[float] = field(default_factory=list)
    """The seconds between a piece and the next, of texts together."""
    ignored: list[str] = field(default_factory=list)
    """Fields that no API knows."""

    def has_come(self) -> None:
        """A piece has come just now."""
        now = time.perf_counter()
        if self.last is None:
            self.first = now
        else:
            self.gaps.append(now - self.last)
        self.last = now
