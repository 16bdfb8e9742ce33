"""Listens on a port, by uvicorn, until a signal ends it."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import NybbleError, RequestError
from .log import log
from .wire.errors import APIError, error_body
from .wire.json_body import dumped
from .work.settings import Settings

_HEAD_MAX = 1 << 16  # bytes of a request line and its headers
_KEEP_ALIVE = 30  # seconds


class Protocol(H11Protocol):
    """Uvicorn's protocol of HTTP/1.1; a head that does not come ends the connection, and errors are JSON."""

    read_seconds = 10.0
    n_connections_max = 1024
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": transport.abort}
        if len(self.connections) > self.n_connections_max:
            self._refuse(APIError(503, "there are too many connections; try again later", retry_after=5))
        else:
            self._head_timer = self.loop.call_later(self.read_seconds, self._on_late_head)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            if self._head_timer is None:  # the head of the next request has begun
                self._head_timer = self.loop.call_later(self.read_seconds, self._on_late_head)
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        try:
            super().handle_events()
        except UnicodeDecodeError:  # uvicorn takes the address for ASCII
            self._refuse(APIError(400, "the address has bytes that are not ASCII"))

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP, or too much of it."""
        if len(self.conn.trailing_data[0]) > _HEAD_MAX:
            first_line = self.conn.trailing_data[0].partition(b"\r\n")[0]
            is_line = len(first_line) > _HEAD_MAX // 2
            self._refuse(APIError(414 if is_line else 431, "the address or the headers are too long"))
        else:
            self._refuse(APIError(400, "this is no valid HTTP/1.1 request"))

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: APIError) -> None:
        body = dumped(error_body(error, ""))
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **error.headers,
        }
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = [(name.encode(), value.encode()) for name, value in headers.items()]
            for event in (h11.Response(status_code=error.status, headers=head), h11.Data(data=body)):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self.transport.close()


class Server(uvicorn.Server):
    """Ends in order: after SIGTERM running requests may finish, Ctrl-C and a second signal cancel them."""

    was_interrupted = False
    """Was it Ctrl-C that has ended it?"""

    def __init__(self, app: Starlette, settings: Settings, on_cancel: Callable[[], object]) -> None:
        limits = {"read_seconds": settings.read_seconds, "n_connections_max": settings.n_connections_max}
        config = uvicorn.Config(
            app,
            http=type("Protocol", (Protocol,), limits),
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=_HEAD_MAX,
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
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise RequestError(f"host must be an address of this machine, not {host!r:.100}: {error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
