"""Listens on a port, by uvicorn, until a signal ends it."""

from __future__ import annotations

import errno
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from ..errors import NybbleError, RequestError
from .connection import HEAD_MAX, Connection
from .log import log
from .work.settings import Settings

_KEEP_ALIVE = 30  # seconds
_UNSENT_MAX = 1 << 16  # bytes of a connection that wait in the system


class Server(uvicorn.Server):
    """Ends in order: after SIGTERM running requests may finish, Ctrl-C and a second signal cancel them."""

    was_interrupted = False
    """Was it Ctrl-C that has ended it?"""

    def __init__(self, app: Starlette, settings: Settings, on_cancel: Callable[[], object]) -> None:
        def refused(status: int) -> None:
            app.state.metrics.has_come()
            app.state.metrics.count("other", status)

        config = uvicorn.Config(
            app,
            http=type("Connection", (Connection,), {"rules": settings, "on_refusal": staticmethod(refused)}),
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=HEAD_MAX,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        )
        super().__init__(config)
        self._on_cancel = on_cancel
        logger = logging.getLogger("uvicorn.error")  # what matters of it is in our own log
        logger.addHandler(logging.NullHandler())
        logger.propagate = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.was_interrupted = self.was_interrupted or sig == signal.SIGINT
        if sig == signal.SIGINT or self.should_exit:
            self._on_cancel()
        if not self.should_exit:
            log("ending", signal=signal.Signals(sig).name)
        self.should_exit = True


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there; NybbleError if somebody else does, or there is no such place."""
    if not 0 <= port < 1 << 16:  # the system would take what is left of it by 65536
        raise RequestError(f"port must be from 0 to 65535, not {port}")
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise RequestError(f"host must be an address of this machine, not {host!r:.100}: {error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # so that it is seen when a client takes a little
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_MAX)
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise NybbleError(
                f"port {port} of {host} is taken by another program; choose a `port`"
            ) from error
        raise NybbleError(f"cannot listen on port {port} of {host}: {error.strerror}") from error
    return bound


def address_of(bound: socket.socket) -> str:
    """Where a socket listens, as an address for a browser."""
    where: Any = bound.getsockname()
    host = f"[{where[0]}]" if ":" in where[0] else where[0]
    return f"http://{host}:{where[1]}"
