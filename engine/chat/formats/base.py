"""What all formats of calls have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .scanners import Scanner

Schemas = Mapping[str, Mapping[str, Any]]
"""Name of a tool -> the JSON schema of its arguments."""


@dataclass(frozen=True)
class ParsedCall:
    """A call as the model wrote it."""

    name: str
    arguments: str
    """JSON text of an object."""
    id: str | None = None
    """None if the format has none."""


class ToolFormat(ABC):
    """How a model writes calls of tools into its answer."""

    @property
    @abstractmethod
    def openers(self) -> tuple[str, ...]:
        """The texts with which a call may begin, wherever it stands."""

    @property
    def openers_at_start(self) -> tuple[str, ...]:
        """Texts with which a call may begin where nothing was said yet."""
        return ()

    @property
    @abstractmethod
    def markers(self) -> tuple[str, ...]:
        """All fixed texts of a call; control tokens in them must be shown."""

    @abstractmethod
    def scanner(self, opener: str) -> Scanner:
        """What finds the end of a call, or of several in one section, after its opener."""

    @abstractmethod
    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        """The calls that `text` holds, from the opener on; None if it is malformed. Where the answer has
        ended early, closing texts may be missing."""
