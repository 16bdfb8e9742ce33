"""One request and its answer: the body is read and checked, a handler answers, and what comes is sent, until
it is done or the client has left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

from .front_desk import FrontDesk, Visit
from .log import log_failure
from .models.registry import Registry
from .wire.errors import APIError, failed
from .wire.json_body import dumped, parsed
from .work.call import Call, Endpoint, Events
from .work.runner import Runner
from .work.settings import Settings

_SMALL = 1 << 16  # bytes: what is read and written in the event loop
_SLOWEST = 10_000  # bytes a second of a body


class ClientLeftError(Exception):
    """Nobody waits for the answer."""


class Exchange:
    """Serves one path; an ASGI application."""

    def __init__(self, endpoint: Endpoint, models: Registry, settings: Settings, desk: FrontDesk) -> None:
        self._endpoint, self._models, self._settings, self._desk = endpoint, models, settings, desk
        self._runner = Runner("nybble-json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; `APIError` if it cannot be."""
        state = scope["state"]
        visit = self._desk.visit(state["owner"], state["usage"])
        at_end = contextlib.ExitStack()
        try:
            fields = state["fields"] = await self._fields(scope, receive, visit)
            call = Call(
                id=state["id"],
                path=scope["path"],
                fields=fields,
                settings=self._settings,
                models=self._models,
                cache_salt=state["owner"][:32] or None,
                usage=state["usage"],
                admit=visit.admit,
                at_end=at_end,
                hold=visit.read,
            )
            await self._while_waited_for(self._answer(call, scope, send), receive)
        except ClientLeftError:
            return
        finally:
            at_end.close()
            visit.end()

    async def _fields(self, scope: Scope, receive: Receive, visit: Visit) -> Mapping[str, Any]:
        schema = self._endpoint.schema
        if schema is None:
            return dict(scope.get("path_params", {}))
        self._desk.check_open()
        body = await self._body(scope, receive, visit)
        value = parsed(body) if len(body) < _SMALL else await self._runner.in_thread(parsed, body)
        fields, unknown = schema.read(value)
        if unknown and self._settings.strict:
            raise APIError(
                400, f"{unknown[0]:.100} is a field that no API here knows", param=unknown[0][:100]
            )
        scope["state"]["usage"].ignored += unknown
        return fields

    async def _body(self, scope: Scope, receive: Receive, visit: Visit) -> bytes:
        settings, headers = self._settings, dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if not length and b"transfer-encoding" not in headers:
            raise APIError(411, "a body is needed, with its Content-Length", closes=True)
        too_large = APIError(413, f"the body must have at most {settings.body_max} bytes", closes=True)
        if length.isdigit() and int(length) > settings.body_max:
            raise too_large
        chunks, n, began = [], 0, asyncio.get_running_loop().time()
        while True:
            try:
                async with asyncio.timeout_at(began + settings.read_seconds + n / _SLOWEST):
                    message = await receive()
            except TimeoutError:
                raise APIError(408, "the body has taken too long to come", closes=True) from None
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            chunk = message.get("body", b"")
            n += len(chunk)
            if n > settings.body_max:
                raise too_large
            visit.read(len(chunk))
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    async def _while_waited_for(self, work: Any, receive: Receive) -> None:
        """Does the work, and ends it when the client leaves."""
        doing = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(_has_left(receive))
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            has_left = not doing.done()
            for task in (doing, leaving):
                task.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)
        if has_left:
            raise ClientLeftError
        doing.result()

    async def _answer(self, call: Call, scope: Scope, send: Send) -> None:
        answer = await self._endpoint.handler(call)
        if isinstance(answer, Events):
            await _Sending(answer, scope, send, self._settings.ping_seconds).run()
            return
        content = answer.content
        if not isinstance(content, bytes):
            content = await self._runner.in_thread(dumped, content) if answer.is_large else dumped(content)
        headers = [
            (b"content-type", answer.media_type.encode()),
            (b"content-length", str(len(content)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


class _Sending:
    """Sends events as they come, and a sign of life where none come."""

    def __init__(self, events: Events, scope: Scope, send: Send, ping_seconds: float) -> None:
        self._events, self._scope, self._send = events, scope, send
        self._ping_seconds = ping_seconds
        self._write_now = scope["state"].get("write_now", lambda data: False)
        self._last = time.monotonic()
        self._has_started = False

    async def run(self) -> None:
        """Sends all. Raises what happens before the first event."""
        pinging = asyncio.ensure_future(self._ping())
        try:
            async with contextlib.aclosing(self._events.chunks) as chunks:
                async for chunk in chunks:
                    await self._write(chunk)
        except Exception as error:
            if not self._has_started:
                raise
            if not isinstance(error, APIError):
                log_failure(error, self._scope["state"]["id"])
            self._scope["state"]["has_failed"] = True
            await self._write(self._events.failure(failed(error)))
        finally:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)
        await self._write(b"", is_last=True)

    async def _write(self, data: bytes, is_last: bool = False) -> None:
        self._last = time.monotonic()
        if self._has_started and not is_last and self._write_now(data):
            return
        if not self._has_started:
            self._has_started = True
            headers = [
                (b"content-type", self._events.media_type.encode()),
                (b"cache-control", b"no-cache"),
                (b"x-accel-buffering", b"no"),
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if data or is_last:
            await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})

    async def _ping(self) -> None:
        while self._events.ping:
            await asyncio.sleep(max(0.01, self._last + self._ping_seconds - time.monotonic()))
            if time.monotonic() - self._last >= self._ping_seconds:
                await self._write(self._events.ping)


async def _has_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
