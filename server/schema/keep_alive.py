"""How long a model stays in memory without work, in the forms that Ollama's clients and users write it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from ..wire.errors import bad_field
from .fields import Kind, shown

FORMS = 'seconds, as 300, or a time, as "5m" or "1h30m"; 0: not at all, -1: as long as the server'
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{0,9})?|\.\d{1,9})(ns|us|µs|ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(r"-?(?:\d{1,12}(?:\.\d{0,9})?|\.\d{1,9})", re.ASCII)


def keep_alive_seconds(value: Any) -> float | None:
    """The seconds, infinity for what is below 0; None for what is none of `FORMS`."""
    if isinstance(value, str):
        sign, text = (-1.0, value[1:]) if value.startswith("-") else (1.0, value.removeprefix("+"))
        if _NUMBER.fullmatch(value):
            seconds = float(value)
        elif text and not _PART.sub("", text):
            seconds = sign * sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        else:
            return None
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        seconds = float(value)
    else:
        return None
    return seconds if seconds >= 0 else math.inf


@dataclass(frozen=True)
class KeepAlive(Kind):
    """A field for it."""

    def check(self, value: Any, name: str) -> Any:
        seconds = keep_alive_seconds(value)
        if seconds is None:
            raise bad_field(name, f"must be {FORMS}, not {shown(value)}")
        return seconds

    def json_schema(self) -> dict[str, Any]:
        return {"type": ["number", "string"], "description": FORMS}
