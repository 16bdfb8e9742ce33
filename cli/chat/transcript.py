"""Conversations in files: an object of JSON with the messages as the openai package has them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from ...engine.chat.conversation import checked_messages
from ...errors import RequestError
from ...system.atomic_file import atomic_file

_MAX_BYTES = 64 << 20


def write_transcript(path: str | os.PathLike[str], messages: Sequence[Any], model: str) -> None:
    """Writes messages, and the name of the model that has answered. RequestError for none, and for what is
    no text (lone surrogates); OSError if it cannot be written."""
    if not messages:
        raise RequestError("there is no conversation yet")
    checked_messages(messages)
    text = json.dumps({"model": model, "messages": messages}, ensure_ascii=False, indent=1)
    with atomic_file(path) as file:
        file.write(text.encode() + b"\n")


def read_transcript(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The messages in a file; a list alone is one, too. RequestError, with the reason, for a file that holds
    no conversation; OSError if it cannot be read."""
    path = os.path.expanduser(path)
    with open(path, "rb") as file:
        raw = file.read(_MAX_BYTES + 1)
    if len(raw) > _MAX_BYTES:
        raise RequestError(f"{path} has more than {_MAX_BYTES >> 20} MB: it is no conversation")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is no conversation in JSON: {error}") from error
    messages = found.get("messages") if isinstance(found, dict) else found
    try:
        return checked_messages(messages)
    except RequestError as error:
        raise RequestError(f"{path} has no conversation: {error}") from error
