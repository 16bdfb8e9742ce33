"""Log lines that a person or a program can read. What is asked and answered is in none of them, nor a key."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

from starlette.types import Scope

from ..errors import EngineError
from .work.usage import Usage

LogFormat = Literal["text", "json"]
_LOGGER = logging.getLogger("nybble.server")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", {})
        shown = " ".join(f"{name}={_plain(value)}" for name, value in facts.items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower():<7} {_plain(record.getMessage())} {shown}".rstrip()
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _JSON(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_log(format_: LogFormat, level: int = logging.INFO) -> None:
    """Sends log lines to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSON() if format_ == "json" else _Text())
    _LOGGER.handlers[:] = [handler]
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False


def log(message: str, level: int = logging.INFO, **facts: Any) -> None:
    """Writes a line."""
    _LOGGER.log(level, message, extra={"facts": facts})


def log_failure(error: BaseException, id_: str) -> None:
    """Writes what the server has failed with, and where; of the death of an engine it is known already."""
    if isinstance(error, EngineError):
        log("failed", logging.ERROR, reason=str(error), id=id_)
        return
    _LOGGER.error("failed", exc_info=error, extra={"facts": {"id": id_}})


def log_access(scope: Scope, id_: str, status: int, seconds: float, usage: Usage) -> None:
    """Writes that a request has ended; status 0: nobody waited for the answer."""
    if not _LOGGER.isEnabledFor(logging.INFO):
        return
    facts: dict[str, Any] = {
        "method": scope["method"][:16],
        "path": scope["path"][:100],
        "status": status,
        "seconds": round(seconds, 4),
        "client": (scope.get("client") or ("",))[0],
    }
    if usage.model:
        facts |= {
            "model": usage.model,
            "prompt_tokens": usage.n_prompt,
            "cached_tokens": usage.n_cached,
            "tokens": usage.n_generated,
        }
        if usage.first is not None:
            facts["first_token"] = round(usage.first - usage.began, 4)
    if usage.ignored:
        facts["ignored"] = ",".join(name[:40] for name in usage.ignored[:20])
    log("request", **facts, id=id_)


def _plain(value: Any) -> str:
    """Text without control characters, which could forge lines, and quoted if it has spaces."""
    text = str(value)
    if text.isprintable() and " " not in text:
        return text
    return text if text.isprintable() and text.isascii() and '"' not in text else json.dumps(text)
