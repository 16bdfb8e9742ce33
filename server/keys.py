"""API keys: who may ask, and what keeps tenants apart."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import RequestError


class Keys:
    """The keys that are accepted; without any everybody is."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def owner(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        """A name for the owner of the key in the headers, "" if there are no keys; None if it is none of
        them. Takes the same time for all keys."""
        if not self._digests:
            return ""
        digest = _digest(_given(headers))
        found = [hmac.compare_digest(digest, each) for each in self._digests]
        return digest.hex() if any(found) else None


def _given(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The key as OpenAI's clients send it, or Anthropic's."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
        if name == b"x-api-key":
            return value.strip()
    return b""


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(b"nybble key\0" + key).digest()


def keys_of_file(path: str | os.PathLike[str]) -> list[str]:
    """The keys in a file, one a line; empty lines and those that begin with # are left out. RequestError if
    others can read the file, or it has no key."""
    file = Path(os.path.expanduser(path))
    with file.open(encoding="utf-8") as opened:
        mode = os.fstat(opened.fileno()).st_mode
        if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
            raise RequestError(f"{file}: others can read this file of keys; chmod 600 {file}")
        lines = [line.strip() for line in opened]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise RequestError(f"{file} has no API key; write one a line")
    return keys


def checked_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """Keys that can be sent in a header; RequestError for others."""
    for key in keys:
        if not 1 <= len(key) <= 512 or not key.isascii() or not key.isprintable() or key != key.strip():
            raise RequestError("api_key must be 1 to 512 printable ASCII characters without spaces around")
    return tuple(dict.fromkeys(keys))
