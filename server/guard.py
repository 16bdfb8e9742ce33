"""What every request goes through first: is it for this server, from somebody who may ask, and well formed?

All of it is decided on what was sent, before the path is decoded or anything of the body is read.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .front_desk import FrontDesk
from .keys import Keys
from .log import log_access, log_failure
from .page.page import page_files
from .telemetry import recorder
from .wire.errors import APIError, error_body, failed
from .wire.json_body import dumped
from .work.settings import Settings
from .work.usage import Usage

_OPEN_PATHS = frozenset({b"/health", *(path.encode() for path in page_files())})
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_URI_MAX, _HEADERS_MAX, _HEAD_MAX = 4096, 100, 1 << 15


class Guard:
    """Middleware around the whole application. It also makes answers of errors, and writes the log."""

    def __init__(self, app: ASGIApp, settings: Settings, desk: FrontDesk) -> None:
        self._app, self._settings, self._desk = app, settings, desk
        self._keys = Keys(settings.keys)
        self._hosts = {"localhost", socket.gethostname().lower()}
        self._hosts |= {name.lower() for name in settings.allowed_hosts}
        self._tell = recorder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        usage, status, is_whole = Usage(), 0, False
        state = scope.setdefault("state", {})
        state["usage"], state["id"] = usage, secrets.token_hex(12)

        async def counting_send(message: Message) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_headers(state["id"])]
            await send(message)
            is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)

        self._desk.metrics.has_come()
        try:
            state["owner"] = self._owner(scope)
            await self._app(scope, receive, counting_send)
        except Exception as error:
            if status:  # it has begun to answer, so nothing can be said any more
                log_failure(error, state["id"])
                _abort(scope)
            else:
                api_error = failed(error)
                if api_error.status == 500:
                    log_failure(error, state["id"])
                await send_error(api_error, scope, counting_send)
        finally:
            route = scope.get("route")
            if not status and "refused" in state:  # by the connection, which has answered
                status, is_whole = state["refused"], True
            path, has_failed = getattr(route, "path", "other"), state.get("has_failed", False)
            self._desk.metrics.count(path, status, is_whole, has_failed)
            log_access(scope, state["id"], status, time.perf_counter() - usage.began, usage)
            self._tell(scope, status, usage)

    def _owner(self, scope: Scope) -> str:
        """Who asks; `APIError` for what is not to be answered."""
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if len(raw_path) + len(scope["query_string"]) > _URI_MAX:
            raise APIError(414, f"the address is longer than {_URI_MAX} bytes", closes=True)
        if len(headers) > _HEADERS_MAX or sum(len(name) + len(value) for name, value in headers) > _HEAD_MAX:
            raise APIError(
                431, f"there are more than {_HEADERS_MAX} headers, or {_HEAD_MAX} bytes of them", closes=True
            )
        self._check_host([value for name, value in headers if name == b"host"])
        self._check_origin(headers)
        owner = self._keys.owner(headers)
        if owner is None and raw_path not in _OPEN_PATHS:
            raise APIError(
                401,
                "an API key is needed: send it as Authorization: Bearer KEY",
                code="invalid_api_key",
                closes=True,
            )
        names = [name for name, _ in headers]
        if b"content-length" in names and b"transfer-encoding" in names:
            raise APIError(400, "Content-Length and Transfer-Encoding contradict each other", closes=True)
        if names.count(b"content-length") > 1:
            raise APIError(400, "Content-Length is there twice", closes=True)
        return owner or ""

    def _check_host(self, hosts: Sequence[bytes]) -> None:
        """A name that is not this server's may be one of an attacker's, which leads here (DNS rebinding)."""
        if len(hosts) > 1:
            raise APIError(400, "Host is there twice", closes=True)
        for host in hosts:
            found = _HOST.fullmatch(host.decode("latin-1"))
            if found is None:
                raise APIError(400, "Host is no name of a host", closes=True)
            if "*" not in self._hosts and not _is_address(found[1]) and found[1].lower() not in self._hosts:
                raise APIError(
                    403,
                    f"this server is not {found[1]!r:.100}; --allowed-host names what else it is called",
                    closes=True,
                )

    @staticmethod
    def _check_origin(headers: Sequence[tuple[bytes, bytes]]) -> None:
        """A page of another site may make a browser send requests; it shall not make the model work."""
        found = dict(headers)
        origin = found.get(b"origin")
        if origin is not None:
            try:
                netloc = urlsplit(origin.decode("latin-1")).netloc
            except ValueError:
                netloc = ""
            if netloc.lower() != found.get(b"host", b"").decode("latin-1").lower():
                raise APIError(403, "pages of other origins may not ask", closes=True)


async def send_error(error: APIError, scope: Scope, send: Send) -> None:
    """Answers with an error, as the API of the path has it."""
    body = dumped(error_body(error, scope["path"]))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(id_: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-request-id", id_.encode()), (b"x-content-type-options", b"nosniff")]


def _abort(scope: Scope) -> None:
    """Ends the connection at once: what was sent is not whole, and the client shall see it."""
    if (abort := scope["state"].get("abort")) is not None:
        abort()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
