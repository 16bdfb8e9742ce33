"""Serves models to tests: on a free port by uvicorn, or without a network."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from starlette.testclient import TestClient

from nybble import ChatMessage, ToolCall
from nybble.engine.chat.message import FunctionCall
from nybble.server.app import make_app
from nybble.server.listener import Server, address_of, bound_socket
from nybble.server.work.served_model import ServedModel
from nybble.server.work.settings import Settings

HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 8}},
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": WEATHER}]
CALL = ToolCall("call_1", FunctionCall("weather", '{"city":"Oslo"}'))
FULL = ChatMessage(content="of the you", reasoning="I think", tool_calls=(CALL,))
"""An answer with all that there is."""


def client(backend, **settings) -> TestClient:
    """A client of an application that serves one backend, called `m`."""
    app = make_app([ServedModel("m", backend)], Settings(**settings))
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def served(backend, **settings) -> contextlib.AbstractContextManager[str]:
    """The address at which one backend, called `m`, is served as long as the context."""
    return served_models([ServedModel("m", backend)], **settings)


@contextlib.contextmanager
def served_models(models, **settings) -> Iterator[str]:
    """The address at which models, or a registry of them, are served as long as the context."""
    rules = Settings(**{"drain_seconds": 1.0, **settings})
    listening = bound_socket("127.0.0.1", 0)
    server = Server(make_app(models, rules), rules, lambda: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield address_of(listening)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def wait_for(condition, seconds: float = 20) -> None:
    """Returns when the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.005)


def connected(url: str, window: int = 0, source: str = "") -> socket.socket:
    """A plain connection to a server, from the address `source`; `window`: the bytes that it takes before
    they are read."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.socket()
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    if source:
        connection.bind((source, 0))
    connection.settimeout(20)
    connection.connect((host, int(port)))
    return connection


def exchanged(url: str, request: bytes) -> bytes:
    """All that a server answers to these bytes, until it closes the connection."""
    with connected(url) as connection:
        with contextlib.suppress(OSError):  # it may close while this is sent
            connection.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 16):
                answer += data
        return answer


def post(path: str, body: bytes, *headers: str) -> bytes:
    """The bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
