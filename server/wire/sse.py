"""Server-sent events."""

from __future__ import annotations

from typing import Any

from .json_body import dumped

DONE = b"data: [DONE]\n\n"


def event(value: Any, name: str | None = None) -> bytes:
    """An event whose data is a JSON value."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + dumped(value) + b"\n\n"
