"""Server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .json_body import dumped

DONE = b"data: [DONE]\n\n"


def event(value: Any, name: str | None = None) -> bytes:
    """An event whose data is a JSON value."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + dumped(value) + b"\n\n"


TEXT = "\0"
"""Stands for the text in the value of `event_form`."""


def event_form(value: Any) -> Callable[[str], bytes]:
    """Makes events that differ in one text, which is the last `TEXT` of `value`: all else is written once."""
    before, _, after = event(value).rpartition(dumped(TEXT))
    return lambda text: before + dumped(text) + after
