"""What all formats of calls have in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....errors import RequestError
from .lark_writer import LarkWriter
from .scanners import EndsAtOnce, Scanner

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


@dataclass(frozen=True)
class Beginning:
    """Where a call begins in free text."""

    opener: str
    rest: str
    """Items of a grammar for what must follow."""
    at_start: str = ""
    """Items of a terminal in place of `opener`, if it counts only where nothing was said yet."""
    has_all: bool = False
    """All calls come after one opener."""


class ToolFormat(ABC):
    """How a model writes calls of tools into its answer. No opener may be the beginning of another."""

    def bound(self, schemas: Schemas | None) -> ToolFormat:
        """The format of answers that may call these tools; for None nothing is a call."""
        return NO_CALLS if schemas is None else self

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
        """The calls that `text` holds, from the opener on; [] for a mark alone, None if it is malformed.
        Where the answer has ended early, closing texts may be missing."""

    def grammar(self, lark: LarkWriter, tools: Schemas) -> str:
        """The body of a rule for one call or more of these tools, as the model writes them; RequestError for
        a schema that cannot be enforced in this format."""
        (begin,) = self.beginnings(lark, tools)
        call = lark.rule(f"{lark.text(begin.opener)} {begin.rest}")
        return call if begin.has_all else f"{call} {lark.more(f'SPACE {call}')}"

    @abstractmethod
    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        """Where calls of these tools begin in an answer that need not call any, and what follows then;
        RequestError as `grammar`."""


class NoCalls(ToolFormat):
    """The format of a model that knows no tools: nothing is a call."""

    @property
    def openers(self) -> tuple[str, ...]:
        return ()

    @property
    def markers(self) -> tuple[str, ...]:
        return ()

    def scanner(self, opener: str) -> Scanner:
        return EndsAtOnce()

    def calls(self, text: str, schemas: Schemas) -> list[ParsedCall] | None:
        return None

    def beginnings(self, lark: LarkWriter, tools: Schemas) -> list[Beginning]:
        return []

    def grammar(self, lark: LarkWriter, tools: Schemas) -> str:
        raise RequestError(
            'tool_choice must be "auto" or "none" for this model: its chat template says nothing of tools'
        )


NO_CALLS = NoCalls()


def sectioned(lark: LarkWriter, begin: str, rest: str, section: tuple[str, str]) -> Beginning:
    """Where calls begin that are `begin` and `rest`, perhaps all between the texts of a section."""
    if not section[0]:
        return Beginning(begin, rest)
    call = lark.rule(f"{lark.text(begin)} {rest}")
    end = f"SPACE {lark.text(section[1])}" if section[1] else ""
    return Beginning(section[0], f"SPACE {call} {lark.more(f'SPACE {call}')} {end}", has_all=True)


def parsed_call(name: Any, arguments: Any, id_: Any = None) -> ParsedCall | None:
    """A call of JSON values; None if they are none. `arguments` may be a JSON text of an object."""
    if isinstance(arguments, str):
        arguments = decoded(arguments)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except ValueError:  # 1e999
        return None
    if not is_unicode(text + name):
        text = json.dumps(arguments)
    return ParsedCall(name, text, id_ if isinstance(id_, str) and id_ else None) if is_unicode(name) else None


def decoded(text: str) -> Any:
    """The value of a JSON text; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def value_at(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON value that begins at `start`, after white space, and where it ends; None if there is none."""
    try:
        value, end = _DECODER.raw_decode(text, after_space(text, start))
    except (ValueError, RecursionError):
        return None
    return value, end


def without_end(text: str, end: str) -> str:
    """The text without `end`, or the beginning of it with which the text ends, where the answer ended
    early."""
    text = text.rstrip()
    n = next((n for n in range(min(len(end), len(text)), 0, -1) if text.endswith(end[:n])), 0)
    return text[: len(text) - n]


def after_space(text: str, start: int) -> int:
    """The first position from `start` on that is no white space."""
    while start < len(text) and text[start].isspace():
        start += 1
    return start


def is_unicode(text: str) -> bool:
    """False if there are lone surrogates in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_DECODER = json.JSONDecoder()
