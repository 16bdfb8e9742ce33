"""A connection, as uvicorn serves it: what is no HTTP, too much, too slow or too late ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .wire.errors import APIError, error_body
from .wire.json_body import dumped
from .work.settings import Settings

HEAD_MAX = 1 << 16
"""Bytes of a request line and its headers."""
_SLOWEST = 1000  # bytes a second that a client takes of what waits for it


class Connection(H11Protocol):
    """Uvicorn's protocol of HTTP/1.1. A head that does not come ends the connection, and so does a client
    that takes nothing of what is sent; errors are JSON."""

    rules = Settings()
    on_refusal: Callable[[int], None] = staticmethod(lambda status: None)
    """Gets the status of what is refused here, before it is a request."""
    _head_timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "abort": self._abort, "write_now": self.write_now}
        network = _network(self.client)
        n_alike = sum(_network(getattr(each, "client", None)) == network for each in self.connections)
        if len(self.connections) > self.rules.n_connections_max or n_alike > self.rules.n_per_address_max:
            self._refuse(APIError(503, "there are too many connections; try again later", retry_after=5))
        else:
            self._head_timer = self.loop.call_later(self.rules.read_seconds, self._on_late_head)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE:
            if self._head_timer is None:  # the head of the next request has begun
                self._head_timer = self.loop.call_later(self.rules.read_seconds, self._on_late_head)
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._await_reader()

    def on_response_complete(self) -> None:
        self._await_reader()
        super().on_response_complete()

    def write_now(self, data: bytes) -> bool:
        """Writes a piece of a body that is sent in chunks, past uvicorn, h11 and what is around the
        application: of a token's event that was a third of the time. False if it must be sent as usual."""
        if self.flow.write_paused or self.conn.our_state is not h11.SEND_BODY:
            return False
        if self.conn.their_http_version == b"1.0" or not data:
            return False
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        return True

    def handle_events(self) -> None:
        try:
            super().handle_events()
        except UnicodeDecodeError:  # uvicorn takes the address for ASCII
            self._refuse(APIError(400, "the address has bytes that are not ASCII"))

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP, or too much of it."""
        if len(self.conn.trailing_data[0]) > HEAD_MAX:
            first_line = self.conn.trailing_data[0].partition(b"\r\n")[0]
            is_line = len(first_line) > HEAD_MAX // 2
            self._refuse(APIError(414 if is_line else 431, "the address or the headers are too long"))
        else:
            self._refuse(APIError(400, "this is no valid HTTP/1.1 request"))

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.abort()

    def _await_reader(self) -> None:
        """Sees to it that what waits to be sent gets less, from now on."""
        if self._reader_timer is not None:
            self._reader_timer.cancel()
        self._n_unsent = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.rules.write_seconds, self._on_reader)

    def _on_reader(self) -> None:
        n, may_grow = self.transport.get_write_buffer_size(), not self.flow.write_paused
        if not n or (may_grow and self.cycle is not None and not self.cycle.response_complete):
            return
        if n > max(0, self._n_unsent - _SLOWEST * self.rules.write_seconds):
            self._abort()
        else:
            self._await_reader()

    def _abort(self) -> None:
        """Ends the connection at once; without lingering the system would keep what waits to be sent."""
        connection = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it has ended
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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
        if self.cycle is None or self.cycle.response_complete:
            self.on_refusal(error.status)
        elif not self.cycle.response_started:
            self.cycle.scope["state"]["refused"] = error.status
        self.transport.close()
        self._await_reader()


def _network(client: tuple[str, int] | None) -> str:
    """Who a client is, by its address: of one of IPv6 the half that its network has been given."""
    address = client[0] if client else ""
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or int(found) >> 64)
