"""The process that renders: it reads requests from standard input and answers on standard output.

It may take `_MAX_MEMORY` bytes, and `_MAX_SECONDS` of the
processor for a request; beyond that it dies, and whoever has asked starts another (`renderer.py`).
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import suppress
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateSyntaxError, meta

from .json_pipe import read_message, write_message
from .sandbox import LimitedEnvironment, LimitError, RefusedError, render

try:
    import resource
except ImportError:  # Windows: there the sandbox is the only limit, besides the time
    resource = None  # type: ignore[assignment]

_MAX_SECONDS = 2
_MAX_MEMORY = 1 << 29
_N_TEMPLATES = 16  # that stay compiled


def reply_to(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to {"source": a template, "variables": …}: {"text": …}; to one without variables {"names":
    those that the template reads}; or {"error": its kind, "message": …}."""
    try:
        if "variables" in request:
            return {"text": render(_compiled(request["source"]), request["variables"])}
        return {
            "names": sorted(meta.find_undeclared_variables(LimitedEnvironment().parse(request["source"])))
        }
    except RefusedError as error:
        return {"error": "refused", "message": str(error)[:1000]}
    except LimitError as error:
        return {"error": "limit", "message": str(error)}
    except _NoTemplate as error:
        return {"error": "syntax", "message": str(error)}
    except Exception as error:  # a template can cause any error of Python
        return {"error": "failure", "message": f"{type(error).__name__}: {error!s:.200}"}


def main() -> None:
    """Answers until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, not for its helpers
    _limit("RLIMIT_AS", _MAX_MEMORY)
    _limit("RLIMIT_CORE", 0)
    while (request := read_message(sys.stdin.buffer)) is not None:
        # the whole seconds that were used, the rest of one, and those for this request
        _limit("RLIMIT_CPU", int(time.process_time()) + 1 + _MAX_SECONDS)
        write_message(sys.stdout.buffer, reply_to(request))


class _NoTemplate(Exception):
    """The source is no Jinja template."""


@lru_cache(_N_TEMPLATES)
def _compiled(source: str) -> Template:
    try:
        return LimitedEnvironment().from_string(source)
    except Exception as error:  # also RecursionError, for parentheses by the thousand
        place = f" in line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
        raise _NoTemplate(f"{place}: {error!s:.200}") from error


def _limit(name: str, value: int) -> None:
    """Limits what this process may take, where the system can."""
    if resource is None:
        return
    kind = getattr(resource, name)
    _, highest = resource.getrlimit(kind)
    value = value if highest == resource.RLIM_INFINITY else min(value, highest)
    with suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(kind, (value, highest))


if __name__ == "__main__":
    main()
