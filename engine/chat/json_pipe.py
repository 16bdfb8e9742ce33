"""Messages between two processes through pipes: JSON texts, after their length in 8 bytes."""

from __future__ import annotations

import json
from typing import IO, Any

_MAX_LENGTH = 1 << 26  # bytes


def read_message(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None at the end, and if it is longer than `_MAX_LENGTH`."""
    n = int.from_bytes(stream.read(8), "little")
    if not 0 < n <= _MAX_LENGTH:
        return None
    data = stream.read(n)
    message: dict[str, Any] | None = json.loads(data) if len(data) == n else None
    return message


def write_message(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Writes a message, which `read_message` reads."""
    data = json.dumps(message).encode()
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()
