"""Many clients in one thread: each sends its bytes and reads, to the end or until it leaves."""

import json
import random
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_CONTENT = re.compile(rb'"(?:content|text)": ?"(?!")')


@dataclass
class Plan:
    """What one client does."""

    data: bytes
    leaves: int | None = None
    """It leaves after so many pieces of text; 0: as soon as all is sent."""
    is_slow: bool = False
    """It reads a little now and then."""
    patience: float = 600.0
    """After so many seconds without a byte it leaves."""
    key: Any = None
    """What tells it from others."""


@dataclass
class Outcome:
    """What has come of a plan."""

    plan: Plan
    began: float
    ended: float = 0.0
    answer: bytearray = field(default_factory=bytearray)
    times: list[float] = field(default_factory=list)
    """When pieces of text came."""
    has_left: bool = False
    heard: float = 0.0
    """When the last bytes came."""

    @property
    def status(self) -> int:
        """Of HTTP; 0: none has come."""
        found = re.match(rb"(?:HTTP/1\.1 100 .*\r\n\r\n)?HTTP/1\.\d (\d{3})", self.answer)
        return int(found[1]) if found else 0

    @property
    def kind(self) -> str:
        """What the ledger counts it as."""
        if self.status == 503:
            return "busy"
        if 400 <= self.status < 500:
            return "client_error"
        body = self.body
        if self.status >= 500 or re.search(
            rb'(?m)^(?:data: )?\{(?:"type":"error"|"error":[{"])', body or b""
        ):
            return "failed"
        return "cut" if body is None else "completed"

    @property
    def body(self) -> bytes | None:
        """The body, if all of it has come."""
        head, _, rest = bytes(self.answer).partition(b"\r\n\r\n")
        if re.search(rb"(?i)transfer-encoding: chunked", head):
            return dechunked(rest)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return rest[: int(length[1])] if length and len(rest) >= int(length[1]) else None

    @property
    def text(self) -> str:
        """What the model has written."""
        body = self.body or b""
        if not body.startswith(b"{"):  # events, or a sign of life before the first one
            events = [json.loads(each) for each in re.findall(rb"data: ?(\{.*)", body)]
            parts = [event["choices"][0]["delta"].get("content") for event in events if event.get("choices")]
            return "".join(part or "" for part in parts)
        return str(json.loads(body)["choices"][0]["message"]["content"] or "")

    @property
    def n_tokens(self) -> int:
        """How many tokens that were, as the server says."""
        found = re.findall(rb'"completion_tokens": ?(\d+)', self.answer)
        return int(found[-1]) if found else 0


def dechunked(rest: bytes) -> bytes | None:
    """A body that came in chunks, if all of it has."""
    parts, place = [], 0
    while True:
        line, found, _ = rest[place : place + 20].partition(b"\r\n")
        if not found:
            return None
        n = int(line, 16)
        place += len(line) + 2
        if n == 0:
            return b"".join(parts)
        parts.append(rest[place : place + n])
        place += n + 2


def run(
    port: int,
    plans: Sequence[Plan],
    n_at_once: int,
    on_tick: Callable[[], object] = lambda: None,
    seed: int = 0,
) -> Iterator[Outcome]:
    """Does all plans, so many at a time; gives what has come of each as it ends. `on_tick` is called some
    hundred times a second."""
    rng = random.Random(seed)
    waiting = list(reversed(plans))
    selector = selectors.DefaultSelector()
    active: dict[socket.socket, Outcome] = {}
    slow: dict[socket.socket, float] = {}
    while waiting or active:
        while waiting and len(active) < n_at_once:
            plan = waiting.pop()
            connection = socket.socket()
            if plan.is_slow:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", port))
            now = time.perf_counter()
            outcome = Outcome(plan, now, heard=now)
            active[connection] = outcome
            try:
                connection.sendall(plan.data)
            except OSError:
                outcome.has_left = True
            if plan.leaves == 0 or outcome.has_left:
                _end(connection, active.pop(connection))
                yield outcome
                continue
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        on_tick()
        now = time.perf_counter()
        for connection in [each for each, due in slow.items() if due <= now]:
            del slow[connection]
            selector.register(connection, selectors.EVENT_READ)
        for connection in [each for each, it in active.items() if now - it.heard > it.plan.patience]:
            if connection not in slow:
                selector.unregister(connection)
            slow.pop(connection, None)
            outcome = active.pop(connection)
            _end(connection, outcome)
            yield outcome
        for key, _ in selector.select(0.005):
            connection = key.fileobj  # type: ignore[assignment]
            outcome = active[connection]
            is_over = _read(connection, outcome)
            if outcome.plan.is_slow and not is_over:
                selector.unregister(connection)
                slow[connection] = time.perf_counter() + rng.uniform(0, 0.05)
            elif is_over:
                selector.unregister(connection)
                del active[connection]
                _end(connection, outcome)
                yield outcome


def _read(connection: socket.socket, outcome: Outcome) -> bool:
    """Reads what is there. Is that all, or does the client leave?"""
    try:
        data = connection.recv(300 if outcome.plan.is_slow else 1 << 16)
    except OSError:
        return True
    outcome.answer += data
    outcome.heard = time.perf_counter()
    n = len(_CONTENT.findall(data))
    outcome.times += [time.perf_counter()] * min(n, 1)
    outcome.has_left = outcome.plan.leaves is not None and len(outcome.times) >= outcome.plan.leaves
    return not data or outcome.has_left


def _end(connection: socket.socket, outcome: Outcome) -> None:
    outcome.ended = time.perf_counter()
    connection.close()


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request whose answer ends the connection."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Content-Type: application/json", *headers, "", ""]).encode() + body
